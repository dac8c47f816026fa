"""
What people decide of candidates: kept in the GeoPackage of the map, carried over when the comparison is made anew.

A candidate is a row of one of LAYERS: its number `candidate`, its `confidence` and a `status` of STATUSES. A decision
is one transaction of SQLite, which a GeoPackage is: it is there whole or not at all, and two people at two panels, or
one in QGIS, do not undo each other's.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.conflation.ground import metres_at
from lib.errors import BusyError, InputError, ParameterError, reading
from lib.grid import LONLAT
from lib.mapping.geopackage import read_layer, roll_back
from lib.paths import locked, room_for

LAYERS = ("missing_roads", "missing_buildings", "changed_buildings")
OPEN, ACCEPTED, REJECTED, SKIPPED = STATUSES = ("open", "accepted", "rejected", "skipped")
ORDERS = ("surest", "worst")
EXPECTED = "the map's GeoPackage with candidates of a comparison with OSM"
COLUMNS = ("candidate", "confidence", "status")
PATIENCE_S = 5.0  # with another writer: QGIS holds the file while it saves
# what the triggers of a GeoPackage's spatial index call when a geometry changes (GeoPackage 1.4, F.3). SQLite asks that
# they exist when any column changes, and has them from GDAL only
INDEX_FUNCTIONS = ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY")
SAME_M = 3.0  # lines so near each other run along one road
SAME_SHARE = 0.7  # of either line near the other, or of the common ground of two outlines: it is the same candidate
ALONG_M = 1.0  # a road of the map lies so near to the candidate that was made of it
LEAST_CUT_M = 8.0  # what runs along a rejected candidate for less crosses it: at 15 degrees or more
ID_DECIMALS = 6  # of degrees, a tenth of a metre: a number is that of a place


def read_candidates(gpkg: Path, layer: str) -> gpd.GeoDataFrame:
    """
    Candidates of one layer with all their columns, in the CRS of the map.

    Raises
    ------
    ParameterError
        If it is none of LAYERS.
    InputError
        Names the file if it can't be read, lacks the layer or a column, holds a number twice or an unknown status.
    """
    _check_layer(layer)
    frame = read_layer(gpkg, layer, EXPECTED)
    if frame is None:
        raise InputError(f"{gpkg}: expected a layer {layer!r}, found none; compare the map with OSM first.")
    if lacking := [column for column in COLUMNS if column not in frame]:
        raise InputError(f"{gpkg}: expected columns {', '.join(COLUMNS)} in {layer}; {', '.join(lacking)} is missing.")
    if unknown := sorted(set(map(str, frame["status"])) - set(STATUSES)):
        raise InputError(f"{gpkg}: expected a status of {', '.join(STATUSES)} in {layer}; got {unknown[0][:40]!r}.")
    if not frame["candidate"].is_unique:
        twice = frame["candidate"][frame["candidate"].duplicated()].iloc[0]
        raise InputError(f"{gpkg}: expected numbers of their own in {layer}; candidate {twice} is there twice.")
    return frame


def _connect(gpkg: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{gpkg.resolve().as_uri()}?mode=rw", uri=True, timeout=PATIENCE_S, isolation_level=None)


def in_order(candidates: gpd.GeoDataFrame, order: str) -> gpd.GeoDataFrame:
    """Candidates with the highest confidence first ("surest") or with the lowest ("worst"); those of none come last."""
    if order not in ORDERS:
        raise ParameterError(f"Expected an order of {', '.join(ORDERS)}; got {order!r}.")
    ascending = [order == "worst", True]
    return candidates.sort_values(["confidence", "candidate"], ascending=ascending, ignore_index=True)


def decide(gpkg: Path, layer: str, candidate: int, status: str) -> str:
    """
    Write the decision on one candidate into the GeoPackage, whole or not at all.

    Returns
    -------
    former
        The status that it had.

    Raises
    ------
    ParameterError
        If it is none of LAYERS or STATUSES.
    InputError
        Names the file if it is no GeoPackage that can be written, or has no such candidate.
    BusyError
        If another program holds the file for longer than PATIENCE_S.
    """
    _check_layer(layer)
    if status not in STATUSES:
        raise ParameterError(f"Expected a status of {', '.join(STATUSES)}; got {status!r}.")
    with _transaction(gpkg) as database:
        with reading(gpkg, EXPECTED):
            row = database.execute(f"SELECT status FROM {layer} WHERE candidate = ?", (int(candidate),)).fetchone()
        if row is None:
            raise InputError(
                f"{gpkg}: {layer} has no candidate {candidate} any more; was the map made anew? Reopen it."
            )
        with reading(gpkg, EXPECTED):
            database.execute(f"UPDATE {layer} SET status = ? WHERE candidate = ?", (status, int(candidate)))
            database.execute(
                "UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE table_name = ?",
                (layer,),
            )
    return row[0]


def read_statuses(gpkg: Path, layer: str) -> dict[int, str]:
    """Status of each candidate as it stands now; errors as `read_candidates`."""
    import pyogrio

    _check_layer(layer)
    with reading(gpkg, EXPECTED):
        roll_back(gpkg)
        table = pyogrio.read_dataframe(gpkg, layer=layer, columns=["candidate", "status"], read_geometry=False)
    return dict(zip(table["candidate"].tolist(), table["status"].tolist(), strict=True))


@contextmanager
def _transaction(gpkg: Path) -> Iterator[sqlite3.Connection]:
    """The GeoPackage, held for this writer alone; what the block changes is kept if it ends well."""
    if not gpkg.is_file():
        raise InputError(f"{gpkg}: no such file; expected {EXPECTED}.")
    with locked(gpkg, PATIENCE_S), room_for(gpkg):  # the lock: whoever makes the map anew replaces the whole file
        with reading(gpkg, EXPECTED):
            database = _connect(gpkg)
        with closing(database):  # what was not committed is undone
            for name in INDEX_FUNCTIONS:
                database.create_function(name, 1, lambda _: None)
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise InputError(f"{gpkg}: expected {EXPECTED}, which can be written; got {error}.") from error
                raise BusyError(f"Another program holds {gpkg}: save or close it there, then decide again.") from error
            except sqlite3.DatabaseError as error:
                raise InputError(f"{gpkg}: expected {EXPECTED}; got {error}.") from error
            yield database
            database.execute("COMMIT")


def _check_layer(layer: str) -> None:
    if layer not in LAYERS:
        raise ParameterError(f"Expected a layer of {', '.join(LAYERS)}; got {layer!r}.")


class Review:
    """
    Candidates of one layer in their order, with the one at hand.

    Parameters
    ----------
    gpkg, layer
        Where each decision is written at once.
    order
        One of ORDERS.

    Attributes
    ----------
    candidates
        As they stood in the file after the last decision: those of other people are seen, too.
    place
        Of the candidate at hand, from 0.

    Raises
    ------
    InputError
        As `read_candidates`, and if there is no candidate.
    """

    def __init__(self, gpkg: Path, layer: str, order: str = "surest") -> None:
        self.gpkg, self.layer = gpkg, layer
        self.candidates = in_order(read_candidates(gpkg, layer), order)
        if self.candidates.empty:
            raise InputError(f"{gpkg}: {layer} holds no candidate; there is nothing to review.")
        self._done: list[tuple[int, str, str]] = []  # (place, former status, status) of each decision
        self.place = 0
        if self.candidates["status"].iloc[0] != OPEN:
            self._to_next_open()

    @property
    def current(self) -> pd.Series:
        """The candidate at hand."""
        return self.candidates.iloc[self.place]

    def counts(self) -> dict[str, int]:
        """How many candidates have each status."""
        return {status: int((self.candidates["status"] == status).sum()) for status in STATUSES}

    def decide(self, status: str) -> None:
        """Write the decision on the candidate at hand, then take the next that is open, or, if none is, the next."""
        former = decide(self.gpkg, self.layer, self.current["candidate"], status)
        self._done.append((self.place, former, status))
        self._read_statuses()
        self._to_next_open()

    def undo(self) -> bool:
        """
        Give the candidate that was last decided here its former status, and take it.

        False where there is none, or where somebody has decided it otherwise since: that stays.
        """
        if not self._done:
            return False
        place, former, status = self._done[-1]
        self._read_statuses()
        stands = self.candidates["status"].iloc[place] == status
        if stands:
            decide(self.gpkg, self.layer, self.candidates["candidate"].iloc[place], former)
            self.place = place
            self._read_statuses()
        self._done.pop()
        return bool(stands)

    def step(self, by: int) -> None:
        """Take the candidate so many places on, or back; after the last comes the first."""
        self.place = (self.place + by) % len(self.candidates)

    def _read_statuses(self) -> None:
        now, before = read_statuses(self.gpkg, self.layer), self.candidates["status"]
        self.candidates["status"] = self.candidates["candidate"].map(now).fillna(before)

    def _to_next_open(self) -> None:
        """The next open candidate, seen around from here; where none is left the next one."""
        is_open = np.roll(self.candidates["status"].to_numpy() == OPEN, -self.place - 1)
        self.step(1 + int(is_open.argmax()))


def carry_over(found: gpd.GeoDataFrame, earlier: gpd.GeoDataFrame | None = None) -> gpd.GeoDataFrame:
    """
    Candidates of a new comparison with the numbers and decisions that they had in an earlier one.

    The same candidate is one that lies in the same place: lines that run within SAME_M of each other, outlines that
    cover the same ground, for SAME_SHARE. Each earlier one is taken once, the most alike first. Others are open, and
    numbered by their place, so that two people who compare the same get the same numbers.

    Parameters
    ----------
    found
        Lines or polygons with a CRS.
    earlier
        As `read_candidates` gives them; None: there are none.

    Returns
    -------
    candidates
        `found` with `candidate`, int64, and `status`.
    """
    numbers, statuses = np.full(len(found), -1, np.int64), np.full(len(found), OPEN, object)
    if earlier is not None and len(earlier) and len(found):
        for new, old in _alike(found.geometry, earlier.geometry.to_crs(found.crs)):
            numbers[new], statuses[new] = earlier["candidate"].iloc[old], earlier["status"].iloc[old]
    taken = set() if earlier is None else set(earlier["candidate"])
    places = shapely.transform(found.geometry.to_crs(LONLAT).to_numpy(), lambda xy: xy.round(ID_DECIMALS) + 0.0)
    for row in np.flatnonzero(numbers < 0):
        number = zlib.crc32(shapely.to_wkb(shapely.normalize(places[row])))
        while number in taken:
            number += 1
        numbers[row] = number
        taken.add(number)
    return found.assign(candidate=numbers, status=statuses)


def _alike(new: gpd.GeoSeries, old: gpd.GeoSeries) -> list[tuple[int, int]]:
    """Places of the same candidate in both series, each at most once."""
    metres = metres_at(new)
    a, b = new.to_crs(metres).to_numpy(), old.to_crs(metres).to_numpy()
    left, right = shapely.STRtree(b).query(a, predicate="dwithin", distance=SAME_M)
    likeness = _likeness(a[left], b[right])
    pairs, used_left, used_right = [], set(), set()
    for place in np.lexsort((shapely.hausdorff_distance(a[left], b[right]), -likeness)):
        pair = int(left[place]), int(right[place])
        if likeness[place] >= SAME_SHARE and pair[0] not in used_left and pair[1] not in used_right:
            pairs.append(pair)
            used_left.add(pair[0])
            used_right.add(pair[1])
    return pairs


def _likeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far pairs of geometries, in metres, are one: IoU of polygons; the share of either line that is near both."""
    if not len(a):
        return np.zeros(0)
    if shapely.get_dimensions(a[0]) == 2:
        common = shapely.area(shapely.intersection(a, b))
        return common / (shapely.area(a) + shapely.area(b) - common)
    near_b = shapely.length(shapely.intersection(a, shapely.buffer(b, SAME_M))) / shapely.length(a)
    near_a = shapely.length(shapely.intersection(b, shapely.buffer(a, SAME_M))) / shapely.length(b)
    return np.minimum(near_a, near_b)


def kept(found: gpd.GeoDataFrame, candidates: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """
    Roads or buildings of the map without what was rejected, for all that is written of it.

    Parameters
    ----------
    found
        Layer `roads` (lines) or `buildings` (polygons) of the map, with a CRS.
    candidates
        Rows of LAYERS that were made of it.

    Returns
    -------
    rest
        Rows as they were, but for roads that a rejected candidate is a part of: they are cut there, with their share
        of `length_m`. A road that only crosses or joins a rejected one stays whole.
    """
    rejected = candidates[candidates["status"] == REJECTED].geometry
    if rejected.empty or found.empty:
        return found
    metres = metres_at(found.geometry)
    own, against = found.geometry.to_crs(metres).to_numpy(), rejected.to_crs(metres).to_numpy()
    if shapely.get_dimensions(own[0]) == 2:
        left, right = shapely.STRtree(against).query(own, predicate="intersects")
        gone = left[_likeness(own[left], against[right]) >= SAME_SHARE]
        return found.drop(found.index[gone]).reset_index(drop=True)
    strips = shapely.union_all(shapely.buffer(against, ALONG_M, cap_style="flat"))
    along = shapely.line_merge(shapely.intersection(own, strips))
    parts, row = shapely.get_parts(along, return_index=True)
    is_cut = (shapely.get_dimensions(parts) == 1) & (shapely.length(parts) >= LEAST_CUT_M)
    is_cut |= shapely.length(parts) >= SAME_SHARE * shapely.length(own[row])
    cuts = gpd.GeoSeries(shapely.buffer(parts[is_cut], ALONG_M / 100, cap_style="flat")).groupby(row[is_cut])
    geometry, share = found.geometry.to_numpy().copy(), np.ones(len(found))
    for place, areas in cuts:
        rest = shapely.get_parts(shapely.difference(own[place], areas.union_all()))
        rest = shapely.multilinestrings(rest[shapely.length(rest) >= ALONG_M])
        share[place] = shapely.length(rest) / shapely.length(own[place])
        geometry[place] = gpd.GeoSeries([rest], crs=metres).to_crs(found.crs).iloc[0]
    return _with_rest(found, geometry, share)


def _with_rest(found: gpd.GeoDataFrame, geometry: np.ndarray, share: np.ndarray) -> gpd.GeoDataFrame:
    """The rows whose geometry has a rest, one row a part, `length_m` divided among them."""
    rest = found.set_geometry(gpd.GeoSeries(geometry, index=found.index, crs=found.crs))
    lengths, is_cut = shapely.length(geometry), share < 1
    rest = rest.assign(_row=np.arange(len(rest)))[share > 0].explode(ignore_index=True)
    row = rest.pop("_row").to_numpy()
    if "length_m" in rest:
        of_row = shapely.length(rest.geometry.to_numpy()) / np.where(lengths[row] > 0, lengths[row], 1) * share[row]
        rest["length_m"] = rest["length_m"] * np.where(is_cut[row], of_row, 1.0)
    return rest
