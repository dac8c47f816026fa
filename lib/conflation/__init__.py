"""
What a map shows and OpenStreetMap does not, and the other way round.

In: the roads, buildings and probabilities of a mapped area, and OSM's layers of the same ground. Out: candidates with
their confidence, what of OSM was not seen, and what people decided of each.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "buildings": ["BuildingRules", "compare_buildings"],
        "clean_labels": ["export_reviewed"],
        "comparison": ["compare_map", "write_reviewed"],
        "ground": ["Ground", "ground_of_arrays", "ground_of_map"],
        "maproulette": ["write_challenge"],
        "review": ["Review", "carry_over", "kept", "read_candidates"],
        "roads": ["RoadRules", "compare_roads"],
    },
)
