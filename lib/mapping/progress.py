"""How far a map is, how fast, and how long it takes yet."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lib.grid import Grid
from lib.mapping.parts import Parts
from lib.networks.devices import device_name

PATIENCE_S = 10.0  # between lines of progress


@dataclass
class Progress:
    """Counts windows and pixels, and says so now and then."""

    parts: Parts
    say: Callable[[str], None]
    started_s: float = field(default_factory=time.monotonic)
    told_s: float = field(default_factory=time.monotonic)
    windows: int = 0
    seen_px: int = 0

    def add(self, seen_px: int) -> None:
        """Count a window whose block shows so many pixels."""
        self.windows += 1
        self.seen_px += seen_px
        now_s, last = time.monotonic(), self.windows == len(self.parts.waiting)
        if last or now_s - self.told_s >= PATIENCE_S:
            self.told_s = now_s
            taken_s = now_s - self.started_s
            left_s = taken_s / self.windows * (len(self.parts.waiting) - self.windows)
            done = len(self.parts.windows) - len(self.parts.waiting) + self.windows
            area, speed = self._area(self.seen_px), self._area(self.seen_px / max(taken_s, 1e-9) * 3600)
            left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
            self.say(f"{done} of {len(self.parts.windows)} windows, {area}, {speed}/h, {left} left")

    def _area(self, pixels: float) -> str:
        km2 = km2_of(self.parts.ground.grid, pixels)
        return f"{pixels / 1e6:.1f} Mpx" if km2 is None else f"{km2:.3g} km2" if km2 < 100 else f"{km2:.0f} km2"

    def summary(self) -> dict[str, Any]:
        """What was seen in all, and how fast this call was."""
        seconds, grid = time.monotonic() - self.started_s, self.parts.ground.grid
        seen_px = self.seen_px + self.parts.seen_px()
        rate = km2_of(grid, self.seen_px / seconds * 3600)
        return {
            "seen_px": seen_px,
            "km2": km2_of(grid, seen_px),
            "km2_per_h": rate,
            "seconds": seconds,
            "windows": len(self.parts.windows),
            "device": device_name(),
        }


def km2_of(grid: Grid, pixels: float) -> float | None:
    """Ground of so many pixels; None where the grid has no CRS."""
    return None if grid.crs is None else pixels * grid.gsd_m**2 / 1e6
