"""
How good a prediction is: pixels, junctions, routes, buildings; with intervals over chips.

In: probability maps and masks of chips. Out: tables of one row a chip, and a scoreboard of one row a run and metric.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "confidence": ["calibrate"],
        "evaluate": ["Case", "predicted_case", "differences", "score_chips", "scoreboard"],
        "metrics": ["PixelScores", "bootstrap_interval", "paired_difference"],
        "sweep": ["break_even", "relaxed_sweep", "threshold_sweep"],
    },
)
