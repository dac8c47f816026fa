"""The hub's format: folders of this project and of smp, names on a hub, and what is refused."""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import segmentation_models_pytorch as smp
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from lib.errors import CheckpointError, DownloadError, ParameterError
from lib.networks.checkpoint import CheckpointInfo, file_digest, save_checkpoint
from lib.networks.hub import from_pretrained, save_pretrained
from lib.networks.models import ModelConfig, build_model
from lib.paths import ROOT

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
INFO = CheckpointInfo(SMALL, "roads", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), threshold=0.35, gsd_m=0.5)
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hub")
    return save_pretrained(
        save_checkpoint(path / "best.safetensors", build_model(SMALL), INFO), path / "user" / "roads"
    )


def logits(network: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return network.eval()(IMAGE)


def test_our_folder_comes_back_whole_and_smps_mixin_reads_it(folder):
    loaded = from_pretrained(folder)
    assert loaded.info == INFO
    assert torch.equal(logits(type(loaded.network).from_pretrained(folder)), logits(loaded.network))


def test_half_precision_is_half_the_size_and_float32_in_memory(folder, tmp_path):
    best = folder.parents[1] / "best.safetensors"
    half = save_pretrained(best, tmp_path / "half", half=True)
    assert (half / "model.safetensors").stat().st_size < 0.6 * best.stat().st_size
    loaded, full = from_pretrained(half), from_pretrained(folder)
    assert loaded.info == full.info and loaded.digest != full.digest
    for name, value in loaded.network.state_dict().items():
        true = full.network.state_dict()[name]
        assert value.dtype == true.dtype
        assert torch.equal(
            value, true.half().float() if true.ndim > 1 else true
        )  # norms and their statistics as they were
    assert (logits(loaded.network).sigmoid() - logits(full.network).sigmoid()).abs().max() < 1e-3
    assert torch.equal(logits(type(loaded.network).from_pretrained(half)), logits(loaded.network))  # smp's mixin
    again = save_pretrained(best, tmp_path / "again", half=True)
    assert file_digest(again / "model.safetensors") == loaded.digest


def test_weights_beyond_half_precision_are_refused(tmp_path):
    network = build_model(SMALL)
    with torch.no_grad():
        network.encoder.model.conv_stem.weight[0, 0, 0, 0] = 1e6
    path = save_checkpoint(tmp_path / "best.safetensors", network, INFO)
    with pytest.raises(CheckpointError, match=r"encoder.model.conv_stem.weight.*beyond 65504"):
        save_pretrained(path, tmp_path / "half", half=True)
    assert not (tmp_path / "half").exists()


@pytest.mark.parametrize("kind", [smp.Unet, smp.DeepLabV3Plus])
def test_a_folder_that_smp_wrote(kind, tmp_path):
    model = kind("resnet18", encoder_weights=None, classes=1)
    model.save_pretrained(tmp_path)
    loaded = from_pretrained(tmp_path, task="buildings")
    assert torch.equal(logits(loaded.network), logits(model))
    assert (loaded.info.task, loaded.info.mean[0]) == ("buildings", 0.485)
    # and back again, as a checkpoint of this project
    again = save_pretrained(
        save_checkpoint(tmp_path / "own.safetensors", loaded.network, loaded.info), tmp_path / "again"
    )
    assert torch.equal(logits(smp.from_pretrained(again)), logits(model))


def test_what_is_refused(folder, tmp_path):
    with pytest.raises(CheckpointError, match="finds roads, buildings were asked for"):
        from_pretrained(folder, task="buildings")
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(CheckpointError, match=r"lacks model.safetensors.*pytorch_model.bin"):
        from_pretrained(tmp_path)
    smp.Unet("resnet18", encoder_weights=None, decoder_channels=(64, 32, 16, 8, 8)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="decoder_channels.*load it with smp"):
        from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"_model_class": "Vit"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="_model_class is 'Vit', expected one of"):
        from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="neither a folder here nor a model on the hub"):
        from_pretrained("no/such/folder")


@pytest.mark.parametrize(
    ("encoder_name", "mean", "std"),
    [
        ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("tu-mobilevit_xxs", (0, 0, 0), (1, 1, 1)),
        ("tu-tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("tu-efficientnet_b0.ra_in1k", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("timm-mobilenetv3_small_075", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_smps_network_is_fed_as_its_encoder_was_pretrained(tmp_path, encoder_name, mean, std):
    smp.Unet(encoder_name, encoder_weights=None).save_pretrained(tmp_path)
    info = from_pretrained(tmp_path).info
    assert (info.mean, info.std) == (mean, std)
    if encoder_name.startswith("tu-"):  # for others smp asks the hub
        stated = smp.encoders.get_preprocessing_params(encoder_name)
        assert (stated["mean"], stated["std"]) == (list(mean), list(std))


def test_smps_network_of_more_classes_is_refused(tmp_path):
    smp.Unet("resnet18", encoder_weights=None, classes=2).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"takes 3 bands and gives 2 classes; .*with classes=1"):
        from_pretrained(tmp_path)


def test_statistics_of_smps_network_of_more_bands_begin_again_as_its_weights_do(tmp_path):
    smp.Unet("resnet18", encoder_weights=None, in_channels=5).save_pretrained(tmp_path)
    assert from_pretrained(tmp_path).info.mean == (0.485, 0.456, 0.406, 0.485, 0.456)


def test_an_unknown_task(folder):
    with pytest.raises(ParameterError, match="task is 'rivers'"):
        from_pretrained(folder, task="rivers")


class Hub(SimpleHTTPRequestHandler):
    """Answers GET and HEAD of /<user>/<name>/resolve/main/<file> as the hub does."""

    def translate_path(self, path):
        return super().translate_path(path.split("?")[0].replace("/resolve/main/", "/"))

    def end_headers(self):
        if os.path.isfile(self.translate_path(self.path)):  # noqa: PTH113
            self.send_header("ETag", f'"{file_digest(self.translate_path(self.path))}"')
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        super().end_headers()

    def log_message(self, *_):
        pass


LOAD = """
from lib.errors import CheckpointError
from lib.networks.hub import from_pretrained
print(from_pretrained("user/roads").digest)
try:
    from_pretrained("user/absent")
except CheckpointError as error:
    print("refused:", error)
"""


def test_a_hub_out_of_reach(monkeypatch):
    def unreachable(*_):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr("lib.networks.hub.hf_hub_download", unreachable)
    with pytest.raises(DownloadError, match="the hub did not give it.*no connection"):
        from_pretrained("user/roads")


def test_a_name_on_the_hub(folder, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, directory=folder.parents[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path)}
    place |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    place |= dict.fromkeys(("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"), "300")
    command = [sys.executable, "-c", LOAD]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | place, capture_output=True, text=True, check=False, timeout=600
    )
    server.shutdown()
    assert ran.returncode == 0, ran.stderr
    digest, refused = ran.stdout.splitlines()
    assert digest == file_digest(folder / "model.safetensors")
    assert refused.startswith("refused: user/absent is neither")
