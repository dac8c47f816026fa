"""What it takes to build a network, by name; checked without PyTorch, before anything heavy is imported."""

from dataclasses import dataclass

from lib.errors import ParameterError
from lib.limits import check_fields, limited
from lib.networks.published import encoder_of, published

INPUT_MULTIPLE_PX = 32  # height and width of the input are multiples of this
CONTEXT_STRIDE = {"32": 32, "64": 16, "128": 8, "64 hdc": 16}  # context -> stride of the encoder's last map
OWN_NAMES = ("pp_linknet", "d_linknet", "d_linknet34")  # the last is its authors' name for it on its usual encoder
ARCHITECTURE_NAMES = (
    *OWN_NAMES,
    *("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet"),
    *("deeplabv3", "deeplabv3plus", "pan", "upernet", "segformer", "dpt"),
)
# smp's encoders by family
ENCODERS = (
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"resnext{kind}d" for kind in ("50_32x4", "101_32x4", "101_32x8", "101_32x16", "101_32x32", "101_32x48")),
    *(f"se_resnet{depth}" for depth in (50, 101, 152)),
    *("se_resnext50_32x4d", "se_resnext101_32x4d", "senet154"),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *(f"dpn{kind}" for kind in ("68", "68b", "92", "98", "107", "131")),
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *("inceptionv4", "inceptionresnetv2", "xception", "mobilenet_v2"),
    *(f"mobileone_s{size}" for size in range(5)),
    *(f"mit_b{size}" for size in range(6)),
    *(f"efficientnet-b{size}" for size in range(8)),
    *(f"timm-efficientnet-{size}" for size in (*(f"b{n}" for n in range(9)), "l2")),
    *(f"timm-tf_efficientnet_lite{size}" for size in range(5)),
    *("timm-skresnet18", "timm-skresnet34", "timm-skresnext50_32x4d"),
)
# "tu-" and the name of a network of timm, such as resnet34.a1_in1k, or smp's older "timm-"; no address, no path
TIMM = r"(tu|timm)-\w+(\.\w+)?"
WEIGHTS = (  # smp's names of pretrained ones; which encoder has which, smp says
    *("imagenet", "imagenet+5k", "imagenet+background", "instagram", "ssl", "swsl"),
    *("advprop", "noisy-student", "noisy-student-475"),
)


@dataclass(frozen=True)
class ModelConfig:
    """
    What it takes to build a network again; stored in every checkpoint.

    Attributes
    ----------
    architecture
        "pp_linknet", "d_linknet", or any of smp: "linknet", "unet", "deeplabv3plus", ...
    encoder_name
        Any encoder of smp, "tu-<name>" for those of timm.
    encoder_weights
        Name of pretrained weights ("imagenet", or of a network that ships with this project: its encoder), path of a
        local .safetensors file of an encoder or of a whole network, or None for random ones.
    context
        Side, for an input of 1024 px, of the map that the centre sees: "32", "64", "128", or "64 hdc" with
        hybrid dilated convolutions. smp's architectures take only "32".
    in_channels
        Bands of the image.
    classes
        Channels of logits; 1 for a binary mask.
    """

    architecture: str = limited("pp_linknet", choices=ARCHITECTURE_NAMES)
    encoder_name: str = limited("resnet34", choices=ENCODERS, pattern=TIMM, form="'tu-' and a name of timm's")
    encoder_weights: str | None = limited(
        None, choices=(*published(), *WEIGHTS), pattern=r".+\.safetensors", form="a .safetensors file"
    )
    context: str = limited("64", choices=CONTEXT_STRIDE)
    in_channels: int = limited(3, minimum=1, maximum=100)
    classes: int = limited(1, minimum=1, maximum=1000)

    def __post_init__(self) -> None:
        check_fields(self)
        weights = self.encoder_weights
        if weights in published() and self.encoder_name != encoder_of(weights):
            raise ParameterError(
                f"encoder_weights is {weights!r}, which are those of {encoder_of(weights)}, and encoder_name is "
                f"{self.encoder_name!r}: name that encoder, or other weights for this one."
            )
        if self.context != "32" and self.architecture not in OWN_NAMES:
            raise ParameterError(
                f'context {self.context!r} is for {OWN_NAMES}; architecture {self.architecture!r} has only "32".'
            )
