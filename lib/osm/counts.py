"""What was read of each layer of a source, and what was left out: so that nothing vanishes in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LISTED = 5  # broken rows that are named; the others are counted


@dataclass(frozen=True)
class LayerCount:
    """
    What a layer gave in the area.

    Parameters
    ----------
    layer
        Its name in the file.
    maker
        As what it was read: "tags of OSM", "Geofabrik's classes", ...
    rows
        Rows in the area, the broken ones included.
    roads, buildings
        How many were taken for one; the rest is neither.
    broken
        Rows whose geometry is missing, can't be read, or covers nothing (a ring of two points, a way without nodes).
    broken_rows
        Names of the first of them.
    can_tell
        Whether a row would say that it is a road or a building: then a layer without them is a place without them.
    repeated
        Roads that draw another row again, as osmnx has two-way streets in both directions: they count once.
    """

    layer: str
    maker: str
    rows: int
    roads: int
    buildings: int
    broken: int = 0
    broken_rows: tuple[str, ...] = ()
    can_tell: bool = True
    repeated: int = 0

    def __str__(self) -> str:
        parts = [f"{self.roads} roads"] * bool(self.roads) + [f"{self.buildings} buildings"] * bool(self.buildings)
        used = " and ".join(parts) or "nothing used"
        left_out = ""
        if self.broken:
            named = [*self.broken_rows, *["..."] * (self.broken > len(self.broken_rows))]
            left_out = f", {self.broken} left out without a whole geometry"
            left_out += f" ({', '.join(named)})" if self.broken_rows else ""
        left_out += f", {self.repeated} that repeat another" * bool(self.repeated)
        return f"{self.layer} ({self.maker}): {used} of {self.rows} rows{left_out}"


def is_unused(counts: Sequence[LayerCount]) -> bool:
    """Whether a source has rows in the area, of which none is used, nor could have said that it is a road."""
    used = any(count.roads + count.buildings or count.can_tell for count in counts)
    return not used and any(count.rows for count in counts)
