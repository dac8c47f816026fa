"""
PP-LinkNet and its relatives, and the files that hold their weights.

In: a `ModelConfig`, or a checkpoint, the name of a network that ships with the project, a hub folder or hub name. Out:
a network (`torch.nn.Module`), or a `TrainedModel` with what it must be fed and the threshold it was validated at.
Imports no OSM or GIS package.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "backends": ["with_backend"],
        "calibration": ["Curve", "at_views", "curves_of_pixels", "pixels_kind", "read_curves"],
        "checkpoint": ["CheckpointInfo", "TrainedModel", "for_class", "load_model", "read_info", "save_checkpoint"],
        "config": ["ModelConfig"],
        "convert": ["convert_weights"],
        "devices": ["device_name", "precision_for"],
        "export": ["export_onnx"],
        "hub": ["from_pretrained", "save_pretrained"],
        "models": ["build_model", "create_model"],
        "published": ["published", "weights_of"],
    },
)
