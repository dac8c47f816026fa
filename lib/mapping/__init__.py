"""
From a trained network to a map: probabilities of chips and of whole scenes, and the layers made of them.

In: a `TrainedModel` and images or chips. Out: probability maps, and a folder with a map that opens in QGIS and JOSM.
`predict` and `forward` import no OSM or GIS package. `python -m lib.mapping --help` says what the command line takes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "area": ["map_rasters", "opened_ground"],
        "cluster": ["map_each"],
        "forward": ["probabilities"],
        "geopackage": ["add_layers", "read_layers"],
        "images": ["find_images"],
        "layers": ["LayerOptions", "write_layers"],
        "options": ["CANDIDATE_SHARE", "MapOptions"],
        "overview": ["Overview", "read_overview"],
        "predict": ["predict_chips", "predict_image", "read_probability", "write_probability"],
    },
)
