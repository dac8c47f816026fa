"""
Data sets by name: what a publisher ships becomes sources that chips are cut from.

In: the name of a data set and of its cities; archives in a public bucket, fetched without an account. Out: a folder a
city with 8-bit GeoTIFFs, one vector file of labels, and the truth in the challenge's CSV. `python -m lib.datasets`
asks before it fetches anything.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bucket": ["fetch", "open_bucket", "remote_file"],
        "catalogue": ["DATA_SETS", "DataSet"],
        "prepare": ["prepare_city"],
    },
)
