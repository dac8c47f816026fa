"""How far OpenStreetMap and the imagery miss each other: estimate the shift, and undo it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, MASK_FOREGROUND, crs_text, project
from lib.memory import freed_memory_kept

if TYPE_CHECKING:
    import geopandas as gpd

WORKING_GSD_M = 0.5  # finer imagery is reduced to this: roads are metres wide, and noise is not
WORKING_SIDE_PX = 3072  # larger scenes are reduced to this for time; narrow city streets want their half metre
MAX_OFFSET_M = 15.0  # no map lies farther off its image; pixels larger than this show none
BLOCKS = 4  # the scene is cut into BLOCKS x BLOCKS, whose votes are resampled
EDGE_WEIGHT = 6.0  # of the squared edge correlation, beside the squared colour correlation; tuned on aerial tiles
RESAMPLINGS = 100
DOUBT = 2e-3  # deviation of the noise on a resampled surface, as a share of its maximum
LEAST_CONFIDENCE = 0.5  # from which an offset is believed: most resamplings agree on it
AGREEMENT_M = 1.5  # a resampling agrees with the estimate if its peak lies within this distance


@dataclass(frozen=True)
class Offset:
    """
    Shift that brings the OSM vectors onto the image.

    Parameters
    ----------
    dx_m, dy_m
        Metres to the right (east in a north-up image) and metres up (north) to move the vectors by.
    confidence
        Share of resamplings of the scene's blocks that put the shift within AGREEMENT_M of this, 0 to 1. Low where
        nothing on the image answers to the mask, or where all roads run one way.
    error_m
        Median distance of those resamplings from the estimate, metres.
    agreement
        Multiple correlation of image and mask at the best shift, 0 to 1.
    """

    dx_m: float
    dy_m: float
    confidence: float
    error_m: float
    agreement: float

    @property
    def believed_m(self) -> tuple[float, float]:
        """(dx_m, dy_m), or no shift where the confidence is too low to move anything."""
        return (self.dx_m, self.dy_m) if self.confidence >= LEAST_CONFIDENCE else (0.0, 0.0)


@freed_memory_kept()  # a fifth of the time was zeroing pages
def estimate_offset(
    image: np.ndarray, mask: np.ndarray, gsd_m: float, max_offset_m: float = MAX_OFFSET_M, seed: int = 0
) -> Offset:
    """
    Shift between an OSM mask and what the image, or a model, shows.

    Of a probability map the plain correlation with the mask is maximised. Of an image the *multiple* correlation:
    whitened bands (colour, its square, roughness at two scales) are correlated with the mask, and the squares
    summed, which is the share of the mask's variance that the best linear look at the image could explain. It
    is the largest where the pixels under the mask are most alike and most unlike the rest, whatever colour the
    roads of the place have. The direction of edges enters as well.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB, or (H, W) float probabilities in [0, 1] of a stage-1 model.
    mask
        (H, W) uint8, MASK_FOREGROUND where OSM has the class; north up, as the image.
    gsd_m
        Pixel size, metres.
    max_offset_m
        Largest shift looked for, along either axis.
    seed
        Of the resampling.

    Returns
    -------
    offset
        Turned by `Grid.axes` it is what `shift` takes. Zero with confidence 0 where there is nothing to go by.

    Raises
    ------
    ParameterError
        If sizes disagree, or the window of shifts is smaller than a pixel.
    """
    if image.shape[:2] != mask.shape:
        raise ParameterError(f"Image {image.shape[:2]} and mask {mask.shape} differ in size.")
    if not 0 < gsd_m <= max_offset_m:
        raise ParameterError(f"Expected 0 < gsd_m <= max_offset_m; got gsd_m={gsd_m}, max_offset_m={max_offset_m}.")
    height, width = mask.shape
    scale = max(1.0, WORKING_GSD_M / gsd_m, max(mask.shape) / WORKING_SIDE_PX)
    size = max(1, round(width / scale)), max(1, round(height / scale))
    step_m = gsd_m * np.array([width, height]) / size  # of a working pixel, in x and y
    target = cv2.resize((mask == MASK_FOREGROUND).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    picture = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    if target.std() == 0 or picture.std() == 0:
        return Offset(0.0, 0.0, 0.0, max_offset_m, 0.0)
    reach = max(1, round(max_offset_m / step_m.max()))  # largest shift looked for, working pixels
    is_probability = image.ndim == 2
    bands, edge_pairs = (_standard(picture)[None], []) if is_probability else _look(picture, target)
    goal = _standard(target)
    # what each block of the scene says of each shift: (blocks, bands, dy, dx) and (blocks, dy, dx)
    colour = np.stack([_block_sums(band, goal, reach) for band in bands], axis=1) / goal.size
    edges = sum(_block_sums(seen, drawn, reach) for seen, drawn in edge_pairs) / goal.size

    def best(weights: np.ndarray, doubt: np.ndarray | float = 0.0) -> tuple[np.ndarray, float, bool]:
        """Shift (x, y) in metres by the blocks' weights, the correlation there, and whether it is a true maximum."""
        correlation = np.tensordot(weights, colour, axes=1)  # (bands, dy, dx)
        if is_probability:
            surface = correlation[0]
        else:
            by_edge = np.tensordot(weights, edges, axes=1)
            surface = (correlation**2).sum(axis=0) + EDGE_WEIGHT * by_edge * np.abs(by_edge)
        peak, row_col = _subpixel_peak(surface + doubt * surface.max())
        share = np.sqrt((correlation[:, *row_col] ** 2).sum())
        on_edge = {0, 2 * reach} & set(row_col)
        return (peak - reach) * step_m, float(min(share, 1.0)), not on_edge

    shift_m, agreement, is_peak = best(np.ones(len(colour)))
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(colour), np.full(len(colour), 1 / len(colour)), size=RESAMPLINGS).astype(np.float64)
    # a little doubt at each shift: along parallel roads all shifts are equally good, and one must not win by rounding
    doubts = rng.normal(0.0, DOUBT, (RESAMPLINGS, 2 * reach + 1, 2 * reach + 1))
    distances_m = np.array(
        [np.hypot(*(best(draw, doubt)[0] - shift_m)) for draw, doubt in zip(draws, doubts, strict=True)]
    )
    # the best shift at the edge of the window is no maximum: the true one may lie beyond
    confidence = float(np.mean(distances_m <= AGREEMENT_M)) * is_peak
    return Offset(float(shift_m[0]), float(-shift_m[1]), confidence, float(np.median(distances_m)), agreement)


def shift(frame: gpd.GeoDataFrame, dx_m: float, dy_m: float) -> gpd.GeoDataFrame:
    """
    The vectors moved dx_m metres east and dy_m metres north, in a new frame.

    Metres are taken east and north on the ground at the middle of the frame, also where the CRS is in degrees or in
    web-mercator units; over a scene of some kilometres that is exact to centimetres.

    Raises
    ------
    InputError
        If the frame has no CRS, so that its unit is unknown.
    """
    import pyproj

    if frame.empty or (dx_m == 0 and dy_m == 0):
        return frame.copy()
    if frame.crs is None:
        raise InputError("The vectors state no CRS, so that metres mean nothing to them; set it (frame.set_crs).")
    crs = crs_text(frame.crs)
    left, bottom, right, top = frame.total_bounds
    centre = np.array([[(left + right) / 2, (bottom + top) / 2]])  # (1, 2) x, y in the CRS
    lon, lat = project(centre, crs, LONLAT)[0]
    azimuth_deg = float(np.degrees(np.arctan2(dx_m, dy_m)))
    lon, lat, _ = pyproj.Geod(ellps="WGS84").fwd(lon, lat, azimuth_deg, float(np.hypot(dx_m, dy_m)))
    dx, dy = (project(np.array([[lon, lat]]), LONLAT, crs) - centre)[0]
    return frame.set_geometry(frame.geometry.translate(dx, dy))


def _look(picture: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Whitened bands (k, H, W) of an RGB picture, and (picture, mask) pairs of edge directions."""
    lab = cv2.cvtColor(picture / 255, cv2.COLOR_RGB2LAB)
    # no-data is black or white throughout, and its border is no edge of a road
    empty = (picture.max(axis=2) == 0) | (picture.min(axis=2) >= 254)
    valid = cv2.erode((~empty).astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=1).astype(bool)
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0)
    roughness = [np.log1p(_local_std(smooth[..., 0], sigma_px)) for sigma_px in (1.5, 4.0)]
    bands = [_standard(band, valid) for band in (*np.moveaxis(smooth, -1, 0), *roughness)]
    bands += [_standard(band**2, valid) for band in bands[:3]]  # grey lies between dark trees and bright roofs
    seen, drawn = _edge_directions(lab[..., 0]), _edge_directions(target)
    seen = [component * valid for component in seen]
    seen_norm, drawn_norm = (np.sqrt(sum((c**2).mean() for c in pair)) + 1e-9 for pair in (seen, drawn))
    pairs = [(s / seen_norm, d / drawn_norm) for s, d in zip(seen, drawn, strict=True)]
    return _whitened(np.stack(bands)), pairs


def _standard(band: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Mean 0 and deviation 1 over the valid pixels; 0 elsewhere and where nothing varies."""
    inside = band if valid is None else band[valid]
    if inside.size == 0 or inside.std() < 1e-6:
        return np.zeros_like(band)
    standard = (band - inside.mean()) / inside.std()
    return standard if valid is None else standard * valid


def _local_std(band: np.ndarray, sigma_px: float) -> np.ndarray:
    """Deviation of the band around each pixel, under a Gaussian window; (H, W)."""
    mean = cv2.GaussianBlur(band, (0, 0), sigma_px)
    return np.sqrt(np.maximum(cv2.GaussianBlur(band * band, (0, 0), sigma_px) - mean * mean, 0.0))


def _whitened(bands: np.ndarray) -> np.ndarray:
    """Uncorrelated bands of variance 1, so that their squared correlations with the mask add up."""
    flat = bands.reshape(len(bands), -1)
    variances, axes = np.linalg.eigh(flat @ flat.T / flat.shape[1])
    keep = variances > 1e-4 * variances.max()
    return ((axes[:, keep] / np.sqrt(variances[keep])).T @ flat).reshape(-1, *bands.shape[1:]).astype(np.float32)


def _edge_directions(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Gradient as strength times (cos 2a, sin 2a): edges that run alike agree, whichever side is the brighter.

    The double angle is that of the structure tensor (Bigun and Granlund, 1987).
    """
    smooth = cv2.GaussianBlur(band, (0, 0), 1.2)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = np.hypot(gx, gy) + 1e-6
    return (gx * gx - gy * gy) / strength, 2 * gx * gy / strength


def _block_sums(seen: np.ndarray, drawn: np.ndarray, reach: int) -> np.ndarray:
    """
    Products of the picture and the moved mask, summed by block.

    Returns
    -------
    sums
        (blocks, 2 * reach + 1, 2 * reach + 1); [:, reach + dy, reach + dx] with the mask moved by (dx, dy) pixels.
    """
    # pixels near the border are left out: there the moved mask would show its end, and zero would be favoured
    height, width = seen.shape
    inner_y, inner_x = min(reach, height // 4), min(reach, width // 4)
    pad_y, pad_x = reach - inner_y, reach - inner_x
    padded = cv2.copyMakeBorder(drawn, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_CONSTANT, value=0)
    inside = seen[inner_y : height - inner_y, inner_x : width - inner_x]
    rows, cols = (np.linspace(0, side, min(BLOCKS, side) + 1).astype(int) for side in inside.shape)
    sums = [
        cv2.matchTemplate(
            padded[top : bottom + 2 * reach, left : right + 2 * reach],
            np.ascontiguousarray(inside[top:bottom, left:right], dtype=np.float32),
            cv2.TM_CCORR,
        )
        for top, bottom in zip(rows[:-1], rows[1:], strict=True)
        for left, right in zip(cols[:-1], cols[1:], strict=True)
    ]
    return np.stack(sums)[:, ::-1, ::-1]  # the window at (reach + k) sees the mask moved by -k


def _subpixel_peak(surface: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Place (x, y) of the maximum, to a part of a pixel by a parabola along each axis, and its (row, col)."""
    row, col = np.unravel_index(int(surface.argmax()), surface.shape)
    place = []
    for line, k in ((surface[row], col), (surface[:, col], row)):
        before, highest, after = line[max(k - 1, 0)], line[k], line[min(k + 1, len(line) - 1)]
        bend = before - 2 * highest + after
        place.append(k + (0.5 * (before - after) / bend if bend < 0 and 0 < k < len(line) - 1 else 0.0))
    return np.array(place), (int(row), int(col))
