"""Which data sets there are, where their archives lie, and how these are laid out."""

import re
from dataclasses import dataclass

from lib.errors import InputError, ParameterError

BUCKET, REGION = "spacenet-dataset", "us-east-1"  # the Registry of Open Data on AWS: no account, no charge
TERMS = "SpaceNet, CC BY-SA 4.0 (spacenet.ai)"
# AOI_2_Vegas and img1 in SN3_roads_train_AOI_2_Vegas_PS-RGB_img1, buildings_AOI_2_Vegas_img1, 3band_AOI_1_RIO_img1
_ID = re.compile(r"(AOI_\d+_[A-Za-z]+)_(?:.*_)?((?:img|chip)\d+)$")


@dataclass(frozen=True)
class DataSet:
    """
    A data set of the catalogue.

    Attributes
    ----------
    name
        As on the command line, and of its folders in data/ and params/.
    task
        "roads" or "buildings".
    archives
        City -> keys of its archives in the bucket.
    images
        Names of the folders that hold its images in an archive; of several the first that is there.
    labels
        The same of its labels: GeoJSON, one file an image.
    """

    name: str
    task: str
    archives: dict[str, tuple[str, ...]]
    images: tuple[str, ...]
    labels: tuple[str, ...]

    def chosen(self, cities: list[str]) -> list[str]:
        """
        The cities, by the catalogue's spelling.

        Raises
        ------
        ParameterError
            If there is no such city; says which there are.
        """
        by_name = {city.lower(): city for city in self.archives}
        if unknown := [city for city in cities if city.lower() not in by_name]:
            raise ParameterError(f"{self.name} has no city {unknown[0]!r}; expected one of {', '.join(self.archives)}")
        return [by_name[city.lower()] for city in cities]


def _train(folder: str, *aois: str) -> dict[str, tuple[str, ...]]:
    key = f"spacenet/{folder}/tarballs/{folder}_train_{{}}.tar.gz"
    return {aoi.rpartition("_")[2]: (key.format(aoi),) for aoi in aois}


_WORLDVIEW_3 = ("AOI_2_Vegas", "AOI_3_Paris", "AOI_4_Shanghai", "AOI_5_Khartoum")
_RIO = "spacenet/SN1_buildings/tarballs/SN1_buildings_train_AOI_1_Rio_{}.tar.gz"
DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            "spacenet-roads",
            "roads",
            _train("SN3_roads", *_WORLDVIEW_3) | _train("SN5_roads", "AOI_7_Moscow", "AOI_8_Mumbai"),
            ("PS-RGB",),
            ("geojson_roads", "geojson_roads_speed"),
        ),
        DataSet(
            "spacenet-buildings",
            "buildings",
            _train("SN2_buildings", *_WORLDVIEW_3) | {"Rio": (_RIO.format("3band"), _RIO.format("geojson_buildings"))},
            ("RGB-PanSharpen", "PS-RGB", "3band"),
            ("buildings", "geojson_buildings", "geojson"),
        ),
    )
}


def data_set(name: str) -> DataSet:
    """The data set of a name; ParameterError says which there are."""
    if name not in DATA_SETS:
        raise ParameterError(f"no data set {name!r}; expected one of {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def image_id(stem: str, where: str) -> str:
    """
    What image, label and CSV of SpaceNet share: "AOI_2_Vegas_img1" of "SN3_roads_train_AOI_2_Vegas_PS-RGB_img1".

    Raises
    ------
    InputError
        If a name holds none; says `where`.
    """
    found = _ID.search(stem)
    if found is None:
        raise InputError(f"{where}: expected a name such as ..._AOI_2_Vegas_..._img1, got {stem!r}")
    return f"{found[1]}_{found[2]}"
