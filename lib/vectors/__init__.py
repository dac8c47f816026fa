"""
From masks to vectors: road graphs and building outlines, and the files they are kept in.

In: masks and probability maps of one grid. Out: road graphs without the debris of a mask, polygons of buildings; vector
files and the challenge's CSV, read and written.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "buildingio": ["read_building_csv", "read_building_vectors", "write_building_csv"],
        "buildings": ["BuildingOptions", "mask_to_polygons"],
        "outlines": ["right_angled"],
        "roadgraph": ["GraphOptions", "RoadGraph", "graph_to_mask", "mask_to_graph"],
        "roadio": ["read_challenge_csv", "read_vector", "write_challenge_csv", "write_vector"],
    },
)
