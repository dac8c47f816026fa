"""
How far labels can be believed: offset, widths, age, agreement; and what a network would mend in them.

In: scenes, vectors and chips with OSM labels. Out: offsets in metres, fitted lane widths, a table of chips with rules
that drop some, and pseudo-labels.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "alignment": ["scene_offsets", "shifts", "with_vectors"],
        "lane_fit": ["LaneFit", "fit_lane_widths"],
        "self_training": ["RelabelOptions", "relabel"],
    },
)
