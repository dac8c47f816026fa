"""What a user says of a map of whole scenes, checked before a file is opened; and what its files are called."""

from collections.abc import Sequence
from dataclasses import dataclass

from lib.errors import ParameterError
from lib.limits import BACKENDS, VIEWS, check_fields, limited
from lib.networks.config import INPUT_MULTIPLE_PX

# in the folder of a map: what it was made by; two rasters of uint8 with a mask of what was seen, round(255 p), and 0 or
# 255; its layers
MAP, PROBABILITY, MASK, GEOPACKAGE = "map.json", "probability.tif", "mask.tif", "map.gpkg"
# of the threshold that is best for masks: from there on pixels make a candidate; one too many is rejected by a key, one
# too few is never seen
CANDIDATE_SHARE = 0.75


@dataclass(frozen=True)
class MapOptions:
    """
    How scenes become a map.

    Attributes
    ----------
    window_px, overlap_px
        Side of a window, and what neighbours share at least; there they are blended linearly.
    views
        "d4" averages eight views (flips and rotations), "none" takes one.
    backend
        What computes the network on a CPU, see `lib.networks.backends.with_backend`; "auto" converts it for OpenVINO
        where the map is large enough for that to pay.
    scheduler
        Address of a Dask scheduler whose workers predict, such as "tcp://10.0.0.5:8786"; "": this process does.
    memory_gib
        What a process may take on the host: more views go through the network at once, more windows wait in line.
    threshold
        Probability from which a pixel is foreground; None: the checkpoint's.
    area
        File of polygons to which the map keeps; "": all that the scenes show.
    crs
        Of scenes that state none (a world file never does).
    gsd_m
        Metres a pixel of scenes that have no place.
    allow_gsd
        Whether scenes of which the GSD is more than twice or less than half the checkpoint's are taken, too.
    bands
        Numbers of the bands that are red, green and blue, and of those that follow where the checkpoint learned from
        more; or of the one that is grey; from 1. (): as the file says.
    go_on
        Whether scenes that can't be read, or parts of them, are left out and named, while the others go on.
    """

    window_px: int = limited(1024, minimum=INPUT_MULTIPLE_PX, maximum=8192, multiple_of=INPUT_MULTIPLE_PX)
    overlap_px: int = limited(128, minimum=0)
    views: str = limited("d4", choices=VIEWS)
    backend: str = limited("auto", choices=BACKENDS)
    scheduler: str = ""
    memory_gib: float = limited(4.0, minimum=1, maximum=4096)
    threshold: float | None = limited(None, minimum=0, maximum=1)
    area: str = ""
    crs: str | None = None
    gsd_m: float | None = limited(None, above=0, maximum=100)
    allow_gsd: bool = False
    bands: Sequence[int] = limited((), minimum=1)
    go_on: bool = False

    @property
    def views_a_window(self) -> int:
        """How many views a window is seen in."""
        return 8 if self.views == "d4" else 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.overlap_px > self.window_px // 2:
            raise ParameterError(
                f"overlap_px is {self.overlap_px}: expected at most half of window_px, {self.window_px // 2}"
            )
        if len(self.bands) == 2:
            raise ParameterError(
                f"bands is {self.bands!r}: expected numbers (red, green, blue, then any others), or one (grey)"
            )
