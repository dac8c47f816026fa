"""
Chips: square pieces of scenes with their masks, in a folder with a manifest.

In: scenes (images on disk, with their place where it is known), vectors or mask images. Out: PNG pairs and
`manifest.csv`, one row a chip: label, split, place. `manifest` reads them without any GIS package.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["build_chips"],
        "emptiness": ["vectors_table"],
        "imagery": ["read_scene"],
        "manifest": ["load_manifest", "of_class", "of_task", "select", "write_manifest"]
        + ["read_bands", "read_image", "read_mask"],
        "merging": ["find_all_scenes"],
        "options": ["ChipOptions"],
        "sources": ["Scene", "by_class", "find_scenes"],
        "splits": ["write_ground"],
        "vectors": ["read_vectors"],
    },
)
