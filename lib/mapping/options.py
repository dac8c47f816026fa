"""What a user says of a map of whole scenes, checked before a file is opened; and what its files are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lib.errors import ParameterError
from lib.limits import BACKENDS, CLASSES, TASKS, VIEWS, check_fields, classes_of, limited
from lib.networks.config import INPUT_MULTIPLE_PX

# in the folder of a map: what it was made by; two rasters of uint8 with a mask of what was seen, round(255 p), and 0 or
# 255, of several classes two for each (`rasters_of`); its layers
MAP, PROBABILITY, MASK, GEOPACKAGE = "map.json", "probability.tif", "mask.tif", "map.gpkg"
LOCK = ".map"  # what a run holds; its .map.lock stays and says that a map is or was made here
MADE_BY = "made_by.json"  # in the folder of an unfinished map's parts
# of the threshold that is best for masks: from there on pixels make a candidate; one too many is rejected by a key, one
# too few is never seen
CANDIDATE_SHARE = 0.75


def rasters_of(task: str) -> dict[str, tuple[str, str]]:
    """Class of a task -> names of its rasters of probabilities and of the mask."""
    if task in CLASSES:
        return {task: (PROBABILITY, MASK)}
    return {kind: (f"probability_{kind}.tif", f"mask_{kind}.tif") for kind in classes_of(task)}


RASTERS = tuple(dict.fromkeys(name for task in TASKS for pair in rasters_of(task).values() for name in pair))


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
        What a process may take on the host: more windows wait in line, without a GPU more views go through at once.
    threshold
        Probability from which a pixel is foreground, of all classes or by class; None: the model's.
    area
        File of polygons to which the map keeps; "": all that the scenes show.
    crs
        Of scenes that state none (a world file never does).
    gsd_m
        Metres a pixel of scenes that have no place.
    allow_gsd
        Whether scenes of which the GSD is more than twice or less than half the checkpoint's are taken, too.
    bands
        Numbers of the bands that are red, green and blue, or as many as the checkpoint learned from, in its order; or
        of the one that is grey; from 1. (): as the file says.
    go_on
        Whether scenes that can't be read, or parts of them, are left out and named, while the others go on.
    """

    window_px: int = limited(1024, minimum=INPUT_MULTIPLE_PX, maximum=8192, multiple_of=INPUT_MULTIPLE_PX)
    overlap_px: int = limited(128, minimum=0)
    views: str = limited("d4", choices=VIEWS)
    backend: str = limited("auto", choices=BACKENDS)
    scheduler: str = ""
    memory_gib: float = limited(4.0, minimum=1, maximum=4096)
    threshold: float | Mapping[str, float] | None = limited(None, minimum=0, maximum=1, key_choices=CLASSES)
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

    def thresholds(self, own: Mapping[str, float]) -> dict[str, float]:
        """Class -> probability from which a pixel is foreground: as stated, else a checkpoint's `own`."""
        given = dict.fromkeys(own, self.threshold) if isinstance(self.threshold, float | int) else self.threshold or own
        if given.keys() != own.keys():
            raise ParameterError(f"threshold is of {', '.join(given)}: expected one for each of {', '.join(own)}")
        return {kind: given[kind] for kind in own}

    def __post_init__(self) -> None:
        check_fields(self)
        if self.overlap_px > self.window_px // 2:
            raise ParameterError(
                f"overlap_px is {self.overlap_px}: expected at most half of window_px, {self.window_px // 2}"
            )
