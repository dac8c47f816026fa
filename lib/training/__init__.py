"""
Two stages of training.

In: rows of a manifest and a `TrainConfig`; for stage 2 also the checkpoint to start from. Out: a folder with the best
weights, the history of losses and scores, and what is needed to go on after a kill. Imports no OSM or GIS package.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "losses": ["create_loss", "focal_loss"],
        "overlap": ["refuse_overlap", "refuse_shared_ground", "warn_of_overlap"],
        "recipe": ["TrainConfig", "beside_the_release", "train_config"],
        "trainer": ["FitResult", "fit"],
    },
)
