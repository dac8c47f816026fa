"""A network's passes as CUDA graphs: a GPU gets a step's thousand kernels in two calls, and never waits for them."""

import warnings

import torch
from torch import Tensor, nn

from lib.errors import PPLinkNetWarning


def record_passes(network: nn.Module, image: Tensor) -> bool:
    """
    Record forward and backward pass, in place: in its present mode, the network replays them from now on.

    Weights and statistics are as before, and may change in place. In the other mode nothing changes. One batch's
    gradients must have been used before the next batch: they lie where the next ones will.

    Parameters
    ----------
    network
        On a GPU, in the mode that it trains in.
    image
        (N, bands, H, W) float32 on the GPU, of any values: replayed are images of this shape and order in memory.

    Returns
    -------
    recorded
        False, with a warning, where a layer waits for the GPU or the memory doesn't suffice: all is as it was, but
        for the GPU's random numbers, which start anew.
    """
    statistics = [buffer.clone() for buffer in network.buffers()]
    mixed, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    try:
        # weights change from step to step: a copy in another precision that is kept between calls would be old
        with torch.autocast("cuda", dtype, enabled=mixed, cache_enabled=False):
            torch.cuda.make_graphed_callables(network, (image.clone(),), allow_unused_input=True)
    except RuntimeError as error:
        torch.cuda.empty_cache()
        if image.is_cuda:  # PyTorch's random numbers stay amid a recording that failed
            torch.cuda.default_generators[image.device.index].graphsafe_set_state(torch.Generator(image.device))
        said = str(error).splitlines()[0]
        warnings.warn(f"CUDA graphs: {said} Each step takes up to twice as long.", PPLinkNetWarning, stacklevel=2)
        return False
    finally:
        with torch.no_grad():  # batch norms have seen the passes that it takes
            for buffer, before in zip(network.buffers(), statistics, strict=True):
                buffer.copy_(before)
    return True
