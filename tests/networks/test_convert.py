"""Weights of others: outputs of the release's networks, computed here by its description, and what is refused."""

import pickle
from collections import OrderedDict

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from lib.errors import CheckpointError, ParameterError, status
from lib.networks.checkpoint import load_model
from lib.networks.convert import RELEASES, convert_weights, main, released
from lib.networks.models import create_model
from lib.networks.tensors import read_tensors

WIDTHS, BLOCKS = (64, 128, 256, 512), (3, 4, 6, 3)
BGR = [2, 1, 0]
# of the release's scripts, blue first
MEAN_BGR = torch.tensor([0.3262061, 0.39206991, 0.41451698], dtype=torch.float64).view(1, 3, 1, 1)
STD_BGR = torch.tensor([0.11344261, 0.1211441, 0.14105087], dtype=torch.float64).view(1, 3, 1, 1)


def make_release(network, seed=0):
    """A state dict of one class of the release: its names and shapes, values such that signals neither die nor grow."""
    generator, state = torch.Generator().manual_seed(seed), OrderedDict()

    def convolution(name, out, into, size, bias=True, fan=None):
        gain = (2 / (fan or into * size * size)) ** 0.5
        state[f"{name}.weight"] = torch.randn(out, into, size, size, generator=generator) * gain
        if bias:
            state[f"{name}.bias"] = torch.randn(out if fan is None else into, generator=generator) * 0.1

    def norm(name, width):
        state[f"{name}.weight"] = torch.rand(width, generator=generator) * 0.5 + 0.5
        state[f"{name}.bias"] = torch.randn(width, generator=generator) * 0.1
        state[f"{name}.running_mean"] = torch.randn(width, generator=generator) * 0.1
        state[f"{name}.running_var"] = torch.rand(width, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("firstconv", 64, 3, 7, bias=False)
    norm("firstbn", 64)
    into = 64
    for layer, (width, count) in enumerate(zip(WIDTHS, BLOCKS, strict=True), 1):
        for block in range(count):
            name = f"encoder{layer}.{block}"
            convolution(f"{name}.conv1", width, into, 3, bias=False)
            norm(f"{name}.bn1", width)
            convolution(f"{name}.conv2", width, width, 3, bias=False)
            norm(f"{name}.bn2", width)
            if into != width:
                convolution(f"{name}.downsample.0", width, into, 1, bias=False)
                norm(f"{name}.downsample.1", width)
            into = width
    if "psp" in network:
        pyramid = "psp" if network.endswith("hdc") else "dblock"
        for level in range(4):
            convolution(f"{pyramid}.stages.{level}.1", 128, 512, 1, bias=False)
        convolution(f"{pyramid}.bottleneck", 512, 1024, 1)
    if "psp" not in network or network.endswith("hdc"):  # hdc inherits a centre that it never calls
        for rate in range(1, 5):
            convolution(f"dblock.dilate{rate}", 512, 512, 3)
    for block, (wide, narrow) in enumerate([(64, 64), (128, 64), (256, 128), (512, 256)], 1):
        convolution(f"decoder{block}.conv1", wide // 4, wide, 1)
        norm(f"decoder{block}.norm1", wide // 4)
        convolution(f"decoder{block}.deconv2", wide // 4, wide // 4, 3, fan=wide // 4 * 9 / 4)
        norm(f"decoder{block}.norm2", wide // 4)
        convolution(f"decoder{block}.conv3", narrow, wide // 4, 1)
        norm(f"decoder{block}.norm3", narrow)
    convolution("finaldeconv1", 64, 32, 4, fan=64 * 4)
    convolution("finalconv2", 32, 32, 3)
    convolution("finalconv3", 1, 32, 3)
    return state


def forward(state, network, x):
    """Logits of (N, 3, H, W), blue first, as the paper and its release are described; nothing of lib is used."""

    def norm(name, x):
        values = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *values)

    def convolution(name, x, **options):
        return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)

    def deconvolution(name, x, *options):
        return F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], *options)

    whole = {"64": (4,), "128": (3, 4), "64 hdc": (4,)}.get(RELEASES[network].context, ())  # layers without a stride
    x = F.relu(norm("firstbn", convolution("firstconv", x, stride=2, padding=3)))
    x, maps = F.max_pool2d(x, 3, 2, 1), []
    for layer, count in enumerate(BLOCKS, 1):
        for block in range(count):
            name = f"encoder{layer}.{block}"
            stride = 2 if block == 0 and layer > 1 and layer not in whole else 1
            rate = (1, 2, 5)[block % 3] if network.endswith("hdc") and layer >= 3 else 1
            y = F.relu(norm(f"{name}.bn1", convolution(f"{name}.conv1", x, stride=stride, padding=rate, dilation=rate)))
            y = norm(f"{name}.bn2", convolution(f"{name}.conv2", y, padding=rate, dilation=rate))
            if f"{name}.downsample.0.weight" in state:
                x = norm(f"{name}.downsample.1", convolution(f"{name}.downsample.0", x, stride=stride))
            x = F.relu(x + y)
        maps.append(x)
    if "psp" in network:
        pyramid = "psp" if network.endswith("hdc") else "dblock"
        pools = [
            convolution(f"{pyramid}.stages.{i}.1", F.adaptive_avg_pool2d(x, n)) for i, n in enumerate((1, 2, 3, 6))
        ]
        pools = [F.interpolate(pool, x.shape[-2:], mode="bilinear", align_corners=False) for pool in pools]
        x = F.relu(convolution(f"{pyramid}.bottleneck", torch.cat([*pools, x], dim=1)))
    else:
        stage, total = x, x
        for i, rate in enumerate((1, 2, 4, 8), 1):
            stage = F.relu(convolution(f"dblock.dilate{i}", stage, padding=rate, dilation=rate))
            total = total + stage
        x = total
    for block in (4, 3, 2, 1):
        name, stride = f"decoder{block}", 1 if block in whole else 2
        x = F.relu(norm(f"{name}.norm1", convolution(f"{name}.conv1", x)))
        x = F.relu(norm(f"{name}.norm2", deconvolution(f"{name}.deconv2", x, stride, 1, stride - 1)))
        x = F.relu(norm(f"{name}.norm3", convolution(f"{name}.conv3", x)))
        x = x + maps[block - 2] if block > 1 else x
    x = F.relu(deconvolution("finaldeconv1", x, 2, 1))
    return convolution("finalconv3", F.relu(convolution("finalconv2", x, padding=1)), padding=1)


def write(path, state, prefix="module.", **options):
    torch.save(OrderedDict((prefix + name, tensor) for name, tensor in state.items()), path, **options)
    return path


@pytest.mark.parametrize("network", RELEASES)
def test_outputs_are_those_of_the_release(network, tmp_path):
    state = make_release(network)
    path = write(tmp_path / "weights.th", state)
    if network.endswith("hdc"):
        convert_weights(path, tmp_path / "told.safetensors")  # its tensors say which class it is
    info = convert_weights(path, tmp_path / "out.safetensors", network, "buildings")
    trained = load_model(tmp_path / "out.safetensors", task="buildings")
    assert trained.info == info and info.provenance["converted"]["network"] == network
    # in float64, so that what is left is no rounding of single precision; red first
    image = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (info.mean, info.std))
    there = image[:, BGR] * 3.2 - 1.6 if network == "DinkNet34" else (image[:, BGR] - MEAN_BGR) / STD_BGR
    with torch.no_grad():
        expected = forward({name: tensor.double() for name, tensor in state.items()}, network, there)
        found = trained.network.double()((image - mean) / std)
    assert expected.std() > 0.01
    assert (found - expected).abs().max() <= 1e-9


def test_a_mapping_by_name_alone_finds_something_else(tmp_path):
    state = make_release("DinkNet34_psp64")
    right, network = released(state), create_model()
    image = torch.rand(1, 3, 64, 64)
    wrong = dict(right)
    wrong["decoder.centre.mix.weight"] = state["dblock.bottleneck.weight"]
    network.eval()
    with torch.no_grad():
        outputs = []
        for weights in (right, wrong):
            network.load_state_dict(weights)
            outputs.append(network(image))
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


def test_older_files_and_their_missing_counters_are_read(tmp_path):
    state = make_release("DinkNet34")
    old = {name: tensor for name, tensor in state.items() if "num_batches" not in name}  # before PyTorch 0.4.1
    path = write(tmp_path / "log01_dink34.th", old, _use_new_zipfile_serialization=False)
    convert_weights(path, tmp_path / "a.safetensors", "DinkNet34")
    convert_weights(write(tmp_path / "new.th", state, prefix=""), tmp_path / "b.safetensors", "DinkNet34")
    first, second = (read_tensors(tmp_path / f"{name}.safetensors") for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first if "num_batches" not in name)


@pytest.mark.parametrize("key", ["", "state_dict"])
def test_networks_of_smp_are_read(key, tmp_path):
    network = create_model("unet", "resnet18", in_channels=3).eval()
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "unet.pth")
    convert_weights(tmp_path / "unet.pth", tmp_path / "out.safetensors", "unet", "roads", "resnet18")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "out.safetensors").network(image), network(image))
    with pytest.raises(CheckpointError, match="does not hold the weights of unet: it lacks encoder.layer1"):
        convert_weights(tmp_path / "unet.pth", tmp_path / "other.safetensors", "unet", encoder="resnet34")


@pytest.mark.parametrize(
    ("network", "stated", "change", "message"),
    [
        ("DinkNet34_psp64", None, {}, "alike, but not what they find: say which it is, by --network"),
        ("DinkNet34", None, {}, "D-LinkNet is DinkNet34"),
        ("DinkNet34_psp64", "DinkNet34_psp64_hdc", {}, "is no DinkNet34_psp64_hdc: psp beside dblock"),
        ("DinkNet34_psp64_hdc", "DinkNet34_psp64", {}, "is no DinkNet34_psp64: psp beside dblock"),
        ("DinkNet34", "DinkNet34_psp64", {}, "it lacks decoder.centre.levels.0.1.weight"),
        ("DinkNet34_psp64", "DinkNet34", {}, "it lacks decoder.centre.stages.0.weight"),
        ("DinkNet34", "DinkNet34", {"dblock.dilate5.weight": (512, 512, 3, 3)}, "a fifth dilation"),
        ("DinkNet34", "DinkNet34", {"decoder4.conv1.weight": (256, 1024, 1, 1)}, "DinkNet34_context"),
        ("DinkNet34_psp64", "DinkNet34_psp64", {"finalconv3.weight": (2, 32, 3, 3)}, r"\(2, 32, 3, 3\), expected \(1"),
        ("DinkNet34_psp64", "DinkNet34_psp64", {"extra.weight": (3,)}, "it has extra.weight, which is not known"),
        ("DinkNet34_psp64", "unet", {}, "does not hold the weights of unet"),
    ],
)
def test_a_wrong_network_is_refused_by_name_and_shape(network, stated, change, message, tmp_path):
    state = make_release(network)
    state |= {name: torch.zeros(shape) for name, shape in change.items()}
    with pytest.raises(CheckpointError, match=message):
        convert_weights(write(tmp_path / "weights.th", state), tmp_path / "out.safetensors", stated)
    assert not (tmp_path / "out.safetensors").exists()


def test_norms_whose_activations_leak_are_refused(tmp_path):
    state = {k: v for k, v in make_release("DinkNet34_psp128").items() if "num_batches" not in k}
    with pytest.raises(CheckpointError, match="classes with abn"):
        convert_weights(write(tmp_path / "weights.th", state), tmp_path / "out.safetensors", "DinkNet34_psp128")


class Boom:
    def __reduce__(self):
        return print, ("a stranger's code ran",)


def test_no_code_of_a_file_runs_and_what_is_wrong_takes_two_lines(tmp_path, capsys):
    wrong = tmp_path / "boom.th"
    torch.save({"firstconv.weight": Boom()}, wrong)
    (tmp_path / "cut.th").write_bytes(write(tmp_path / "whole.th", {"a": torch.zeros(9)}).read_bytes()[:200])
    (tmp_path / "list.th").write_bytes(pickle.dumps([1, 2]))
    torch.save([1, 2], tmp_path / "zip_list.th")
    torch.save({"a": torch.tensor([float("nan")])}, tmp_path / "nan.th")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.th")
    for name in ("boom.th", "cut.th", "list.th", "zip_list.th", "nan.th", "other.th", "missing.th"):
        assert status(lambda name=name: main([str(tmp_path / name), str(tmp_path / "out.safetensors")])) == 1
        said, _ = (streams := capsys.readouterr()).err.splitlines()
        assert name in said and len(said) < 600 and "stranger" not in streams.out
    with pytest.raises(ParameterError, match="network is 'DinkNet64'"):
        convert_weights(wrong, tmp_path / "out.safetensors", "DinkNet64")


def test_where_a_checkpoint_is_read_the_error_says_what_converts_such_a_file(tmp_path, capsys):
    path = write(tmp_path / "PPLinknet_psp64.th", make_release("DinkNet34_psp64"))
    old = write(tmp_path / "old.th", {"a": torch.zeros(1)}, _use_new_zipfile_serialization=False)
    for file in (path, old):
        with pytest.raises(CheckpointError, match=rf"python -m lib.networks.convert {file} OUT.safetensors"):
            load_model(file)
    main([str(path), str(tmp_path / "roads.safetensors"), "--network", "DinkNet34_psp64"])
    assert "pp_linknet 64 on resnet34, finds roads" in capsys.readouterr().out
    assert load_model(tmp_path / "roads.safetensors").info.threshold == 0.25
