"""APLS of whole files: every image, cities, the means as the challenge takes them and what they leave out."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lib.apls.scoring import CHALLENGE_GSD_M, Mode, score
from lib.errors import InputError
from lib.vectors import roadio
from lib.vectors.roadframes import Roads, check_pixels, in_square_pixels

SCORE_COLUMNS = ["ImageId", "truth_to_proposal", "proposal_to_truth", "apls"]
IMAGES_NAMED = 5  # images left out that a description names
AREA_OF_INTEREST = re.compile(r"AOI_\d+_[A-Z][a-z]+(_(?!Train|Test|Public|Private)[A-Z][a-z]+)*")  # AOI_9_San_Juan


def city_of(image: str) -> str:
    """
    City of an image id: SpaceNet's area of interest, wherever it stands, else the first three parts (between `_`).

    AOI_2_Vegas of AOI_2_Vegas_img1 and of SN3_roads_train_AOI_2_Vegas_PS-RGB_img1.
    """
    area = AREA_OF_INTEREST.search(image)
    return area[0] if area else "_".join(image.split("_")[:3])


@dataclass(frozen=True)
class Summary:
    """
    Means as the challenge takes them, and what they leave out.

    Attributes
    ----------
    images
        Scored images by id: city, truth_to_proposal, proposal_to_truth, apls.
    cities
        By city: mean apls of its scored images (0 where none was scored), and how many were.
    overall
        Mean over the cities.
    image_mean
        Mean over the scored images.
    only_truth, only_proposal
        Images in one file only: the challenge leaves them out of every mean, at no cost.
    refused
        Images that the challenge refuses, with the reason.
    with_missing
        Mean over the images of the truth, those that are missing or refused counting 0.
    """

    images: pd.DataFrame
    cities: pd.DataFrame
    overall: float
    image_mean: float
    only_truth: list[str]
    only_proposal: list[str]
    refused: dict[str, str]
    with_missing: float


def summarise(
    scores: pd.DataFrame,
    only_truth: Sequence[str] = (),
    only_proposal: Sequence[str] = (),
    refused: dict[str, str] | None = None,
) -> Summary:
    """
    Means per city and overall of a table of scores with the columns ImageId and apls.

    A city is a mean over its scored images, the whole a mean over cities; a city whose images are all missing
    counts as 0, as in the challenge.
    """
    refused = dict(refused or {})
    images = scores.set_index("ImageId")
    images = images.assign(city=[city_of(image) for image in images.index])
    cities = images.groupby("city")["apls"].agg(apls="mean", images="size")
    named = {city_of(image) for image in [*images.index, *only_truth, *only_proposal, *refused]}
    cities = cities.reindex(pd.Index(sorted(named), name="city"), fill_value=0)
    expected = len(images) + len(only_truth) + len(refused)
    return Summary(
        images=images,
        cities=cities,
        overall=float(cities["apls"].mean()) if len(cities) else 0.0,
        image_mean=float(images["apls"].mean()) if len(images) else 0.0,
        only_truth=sorted(only_truth),
        only_proposal=sorted(only_proposal),
        refused=refused,
        with_missing=float(images["apls"].sum() / expected) if expected else 0.0,
    )


def score_files(
    truth: str | Path | Sequence[str | Path],
    proposal: str | Path,
    mode: Mode = "challenge",
    gsd_m: float = CHALLENGE_GSD_M,
    grid: Any = None,
) -> Summary:
    """
    Score every image that truth and proposal share.

    Challenge CSVs hold many images (several truth files are put together), in pixels. GeoJSON, GeoPackage and other
    vector files hold one image, in pixels or, with a `lib.grid.Grid`, in the world: it is the CSV's only image beside
    it, or the one called like the vector file; two vector files are one image, called like the proposal's. Strict mode
    measures in metres on the ground, also where the grid's pixels are oblong, as those in degrees are.

    Raises
    ------
    InputError
        If a file cannot be read, or no image is in both; what is refused in single images is reported in `refused`.
    """
    truths = [truth] if isinstance(truth, str | Path) else list(truth)
    (left, where_left), (right, where_right) = _read(truths, grid), _read([proposal], grid)
    if isinstance(left, list) and isinstance(right, list):
        image = Path(proposal).stem
    elif isinstance(left, list):
        image = image_beside(right, truths[0])
    elif isinstance(right, list):
        image = image_beside(left, proposal)
    left, where_left, right, where_right = (
        {image: found} if isinstance(found, list) else found for found in (left, where_left, right, where_right)
    )
    if not set(left) & set(right):
        ids = [", ".join(sorted(side)[:IMAGES_NAMED]) or "no image at all" for side in (left, right)]
        raise InputError(f"Expected images in truth and proposal, found none in both: {ids[0]} against {ids[1]}.")
    where = (where_left, where_right)
    rows, refused = [], {}
    for image in sorted(set(left) & set(right)):
        try:
            for roads, name, places in ((left, "truth", where_left), (right, "proposal", where_right)):
                check_pixels(roads[image], f"{name} of {image}", places.get(image))
            if mode == "challenge":
                for roads, places in zip((left, right), where, strict=True):
                    roadio.check_roads(roads[image], places.get(image))
            pair = left[image], right[image]
            if mode == "strict" and grid is not None:  # the challenge is defined in the image's own pixels
                pair = [in_square_pixels(roads, grid) for roads in pair]
            result = score(*pair, mode, gsd_m, check=False)
        except InputError as error:
            refused[image] = str(error)
            continue
        rows.append((image, result.truth_to_proposal, result.proposal_to_truth, result.apls))
    frame = pd.DataFrame(rows, columns=SCORE_COLUMNS)
    return summarise(frame, sorted(set(left) - set(right)), sorted(set(right) - set(left)), refused)


def _read(paths: Sequence[str | Path], grid: Any) -> tuple[dict[str, Roads] | Roads, dict[str, list[str]] | list[str]]:
    """Roads of one side, and the file and line or number that each came from; both by image where they are of CSVs."""
    is_vector = [Path(path).suffix.lower() in roadio.VECTOR_SUFFIXES for path in paths]
    if all(is_vector):
        roads = [roadio.read_vector(path, grid) for path in paths]
        where = [f"{path}, road {k}" for path, own in zip(paths, roads, strict=True) for k in range(len(own))]
        return [line for own in roads for line in own], where
    if any(is_vector):
        raise InputError(
            f"Expected files of one kind for a side, all CSV or all vectors, got {', '.join(map(str, paths))}."
        )
    return roadio.read_challenge_lines(paths)


def image_beside(images: Collection[str], vector: str | Path) -> str:
    """
    The image of a CSV that a vector file is compared with: the only one, or the one called like the file.

    Raises
    ------
    InputError
        If there is none such.
    """
    if len(images) == 1:
        return next(iter(images))
    if (image := Path(vector).stem) in images:
        return image
    raise InputError(
        f"{vector} holds one image, called {image}; the CSV beside it holds others: "
        f"{', '.join(sorted(images)[:IMAGES_NAMED])}; call the file like its image."
    )


def describe(summary: Summary) -> str:
    """The means and what they leave out, in words."""
    out = [f"{city.Index}: {city.apls:.6f} ({city.images} images)" for city in summary.cities.itertuples()]
    out.append(f"overall, mean over cities: {summary.overall:.6f}")
    out.append(f"mean over the {len(summary.images)} scored images: {summary.image_mean:.6f}")
    for images, name, effect in (
        (
            summary.only_truth,
            "truth",
            f"with them as 0, the mean over the truth's images is {summary.with_missing:.6f}",
        ),
        (summary.only_proposal, "proposal", "they cost nothing, but a city without any scored image counts as 0"),
    ):
        if images:
            some = ", ".join(images[:IMAGES_NAMED]) + (", ..." if len(images) > IMAGES_NAMED else "")
            out.append(f"in the {name} only, left out of every mean: {len(images)} ({some}); {effect}")
    out += [f"refused, left out of every mean: {image}: {why}" for image, why in summary.refused.items()]
    return "\n".join(out)
