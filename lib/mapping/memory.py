"""How many windows and views are under way at once, so that a map stays within its memory."""

from lib.errors import ParameterError
from lib.mapping.options import MapOptions

AHEAD = 2  # windows at least that are read, and that wait to be written, beside those in the network
BLOCKS_WAITING = 1  # that are blended, and wait to be written
BASE_GIB = 1.2  # the process with its libraries, a network, and what GDAL keeps of images
HOST_BYTES = 36  # a window takes for each pixel while it is read, blended or written: probability, weights, masks
CLASS_BYTES = 16  # and for each class beyond the first: probability, as it is kept and as it is blended
BAND_BYTES = 8  # and for each of its bands: float32, twice
VIEW_BYTES = 1000  # a view takes for each pixel: PP-LinkNet with ResNet-34 380 in bfloat16, twice that in float32
MOST_VIEWS = 8  # at once; more are no faster
MOST_CPU_PIXELS = 2**20  # at once: on a CPU, more take memory and no less time


def views_at_once(options: MapOptions, bands: int = 3, device: str = "cpu", classes: int = 1) -> int:
    """
    How many views go through the network at once, so that all stays within the memory: of a GPU what is free there.

    Parameters
    ----------
    options
        Its windows and memory.
    bands
        Of the images.
    device
        The network's, such as "cpu" or "cuda:1".
    classes
        That it finds.

    Raises
    ------
    ParameterError
        If not one does.
    """
    pixels = options.window_px**2
    waiting_bytes = HOST_BYTES + BAND_BYTES * bands + CLASS_BYTES * (classes - 1)
    view_gib, on_gpu = pixels * VIEW_BYTES / 2**30, device.startswith("cuda")

    def needed_gib(views: int) -> float:
        waiting = 2 * windows_waiting(options, views) + 1 + BLOCKS_WAITING
        return BASE_GIB + pixels * waiting_bytes * waiting / 2**30 + (0 if on_gpu else view_gib * views)

    if needed_gib(1) > options.memory_gib:
        raise ParameterError(
            f"windows of {options.window_px} px take {needed_gib(1):.1f} GiB, memory_gib is {options.memory_gib:g}: "
            "give more memory or smaller windows"
        )
    most = min(MOST_VIEWS, max(1, MOST_CPU_PIXELS // pixels)) if device == "cpu" else MOST_VIEWS
    if on_gpu:
        free_gib = _free_gib(device)
        if view_gib > free_gib:
            raise ParameterError(
                f"windows of {options.window_px} px take {view_gib:.1f} GiB of {device}, {free_gib:.1f} are free: take "
                "smaller windows, or end what else runs there"
            )
        most = min(most, int(free_gib / view_gib))
    return max(views for views in range(1, most + 1) if needed_gib(views) <= options.memory_gib)


def _free_gib(device: str) -> float:
    import torch  # here: options are checked without it

    return torch.cuda.mem_get_info(device)[0] / 2**30


def windows_together(options: MapOptions, at_once: int) -> int:
    """Windows that go through the network at once."""
    return max(1, at_once // options.views_a_window)


def windows_waiting(options: MapOptions, at_once: int) -> int:
    """Windows that are read ahead, and that wait to be written: as many as go at once, so that nobody waits."""
    return max(AHEAD, windows_together(options, at_once))
