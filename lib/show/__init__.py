"""
Pages for people: figures, maps, widgets, reports.

In: what the other wings computed. Out: matplotlib figures, maps that open with the network off, panels for JupyterLab,
and the executed notebooks of an area with their index.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "chip_browser": ["chip_browser"],
        "charts": ["plot_scoreboard", "precision_recall", "reliability_diagram", "training_curves"],
        "figures": ["best_and_worst", "label_overlay", "overlay_grid"],
        "live": ["watchers"],
        "map_result": ["result_figure", "result_map"],
        "review": ["ReviewPanel", "review_sheet", "viewer"],
        "splits": ["split_map"],
        "threshold_panel": ["ThresholdPanel"],
    },
)
