"""
From a trained network to a map: probabilities, road graphs, building outlines.

In: a `TrainedModel` and images or chips. Out: probability maps, road graphs without the debris of a mask, and
polygons of buildings. `predict` imports no OSM or GIS package.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "buildings": ["BuildingOptions", "mask_to_polygons", "right_angled"],
        "predict": ["predict_chips", "predict_image", "read_probability", "write_probability"],
        "roadgraph": ["GraphOptions", "RoadGraph", "graph_to_mask", "mask_to_graph"],
        "roadio": ["read_challenge_csv", "read_vector", "write_challenge_csv", "write_vector"],
    },
)
