"""
From vectors to pixels: masks of roads and buildings, and how far they miss the image.

In: GeoDataFrames and a `lib.grid.Grid`. Out: masks, uint8 (H, W) of 0, 127 (ignored) and 255, and the `Offset` in
metres between a mask and an image.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "offset": ["Offset", "estimate_offset", "shift"],
        "rasterize": ["draw_roads", "ignore_edges", "index_roads", "rasterize_buildings", "rasterize_roads"],
    },
)
