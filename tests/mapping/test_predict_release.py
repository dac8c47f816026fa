"""Where prediction and the release's differ: on which sides an image of any size is padded."""

import numpy as np
import torch
from torch import nn

from lib.mapping.predict import predict_image
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig


class Seen(nn.Module):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        self.image = x
        return x[:, :1] * self.gain


def test_an_image_is_padded_on_its_right_and_below():
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    network, info = Seen(), CheckpointInfo(ModelConfig(), "roads", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    predict_image(TrainedModel(network.eval(), info, ""), image, tta="none")
    seen = (network.image[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    np.testing.assert_array_equal(seen, np.pad(image, [(0, 14), (0, 24), (0, 0)], "reflect"))
