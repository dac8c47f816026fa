"""
APLS, the average path length similarity of two road networks (Van Etten et al. 2018), in pixels.

    python -m lib.apls TRUTH.csv PROPOSAL.csv [--mode strict] [--gsd 0.31]

In: two road networks as lines in pixels, or files of them. Out: a `Score` an image, their `Summary`, and the routes
that cost the most. Two modes: "challenge" follows the SpaceNet road challenge's Java scorer to the letter, order of its
hash sets included, and is what published numbers are made with; "strict" is the same metric without that program's
faults and does not depend on the order of its input. See `lib.apls.challenge` and `lib.apls.strict`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["Summary", "city_of", "describe", "score_files", "summarise"],
        "scoring": ["CHALLENGE_GSD_M", "MIDPOINT_SPACING_M", "SNAP_M", "Score", "directions", "score"],
        "worst": ["explain"],
    },
)
