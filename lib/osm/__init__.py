"""
Vectors of OpenStreetMap, and what their tags say.

In: an area of interest, and where its vectors come from: Overpass, an extract (.osm.pbf), any vector file.
Out: roads and buildings as GeoDataFrames (`OsmLayers`), and from their tags the lanes and widths of roads in metres.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "lanes": ["LaneProfile", "METRIC", "PAPER", "chosen_lanes", "is_drawn", "lane_profile", "road_widths_m"],
        "layers": ["OsmLayers", "area_of_interest", "read_osm"],
        "overpass": ["OverpassOptions"],
    },
)
