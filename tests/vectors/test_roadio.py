"""Road networks of the challenge's CSV and of graphs; those of vector files are tested beside."""

import gzip

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString

from lib.errors import InputError
from lib.grid import LONLAT, Grid, project
from lib.vectors import roadio
from lib.vectors.roadgraph import from_lines, to_networkx


def road(*numbers):
    return np.array(numbers, float).reshape(-1, 2)


def test_reads_the_challenges_csv(tmp_path):
    path = tmp_path / "roads.csv"
    path.write_text(
        "# a comment\nImageId,WKT_Pix\n\n"
        'one,"LINESTRING (0 0, 1.5D -2e1)"\r\n'
        "one,linestring(3 4 99, .5 1.)\n"
        "two,LINESTRING EMPTY\n"
    )
    roads = roadio.read_challenge_csv(path)
    assert list(roads) == ["one", "two"]
    assert [line.tolist() for line in roads["one"]] == [[[0, 0], [1.5, -20]], [[3, 4], [0.5, 1]]]
    assert roads["two"][0].shape == (0, 2)
    assert len(roadio.read_challenge_csv([path, path], check=False)["one"]) == 4


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("one", "line 2: expected ImageId,WKT_Pix, found no comma"),
        ('one,"LINESTRING (1 2, 3 4)"\none,None', "line 3: expected one EMPTY line alone"),
        ('one,"POINT (1 2)"', "line 2: expected LINESTRING"),
        ('one,"LINESTRING (1 2, 3  4)"', "one space between, found '3  4'"),
        ('one,"LINESTRING Z (1 2 3, 4 5 6)"', "no Z"),
        ('one,"LINESTRING (1 2, 3 4)",7', "no column after the line"),
        ('one,"LINESTRING (1 2, NaN 4)"', "two numbers"),
        ('one,"LINESTRING (1 2, 1_0 4)"', "two numbers"),
        ('one,"LINESTRING (1 2, 1e999 4)"', "finite"),
        ('one,"LINESTRING (1 2)"', "line 2: expected two points or more"),
        ('one,"LINESTRING (1 2, 1.001 2)"', r"line 2: .* together at \(1 2\)"),
        ('one,"LINESTRING (1 2, 3 4)"\none,LINESTRING EMPTY', "line 3: expected one EMPTY line alone"),
        ('one,"LINESTRING (1 2, 3 4)"\none,"LINESTRING (9 9, 3 4, 1 2)"', r"line 3: \(3 4\) - \(1 2\)"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, row, message):
    path = tmp_path / "roads.csv"
    path.write_text(f"ImageId,WKT_Pix\n{row}\n")
    with pytest.raises(InputError, match=message):
        roadio.read_challenge_csv(path)


def test_points_of_one_cell_are_the_same_section():
    roadio.check_roads([road(0, 0, 50, 0), road(50, 0, 100, 0)])
    with pytest.raises(InputError, match="section"):
        roadio.check_roads([road(0, 0, 50, 0), road(50.04, 0.04, 0.03, 0)])


points = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda p: (p[0] * 0.25, p[1] * 7.0))


@settings(max_examples=100)
@given(st.lists(st.lists(points, max_size=6).map(lambda line: road(*line)), max_size=6))
def test_without_repeats_passes_the_checks(roads):
    roadio.check_roads(roadio.without_repeats(roads))


def test_without_repeats_keeps_what_is_right():
    roads = [road(0, 0, 5, 5, 9, 9), road(9, 9, 20, 20)]
    assert all(np.array_equal(a, b) for a, b in zip(roads, roadio.without_repeats(roads), strict=True))


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["AOI_2_Vegas_img1", "b", "c d"]),
        st.lists(
            st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=4).map(
                lambda line: road(*line)
            ),
            max_size=3,
        ),
    )
)
def test_csv_round_trip_is_exact(tmp_path_factory, roads):
    path = tmp_path_factory.mktemp("csv") / "roads.csv"
    roadio.write_challenge_csv(path, roads)
    back = roadio.read_challenge_csv(path, check=False)
    assert list(back) == list(roads)
    for image, lines in roads.items():
        assert [x.tolist() for x in back[image] if len(x)] == [x.tolist() for x in lines]
    assert [p.name for p in path.parent.iterdir()] == ["roads.csv"]


@settings(max_examples=300)
@given(st.text(st.sampled_from("#, \t\n\r\0\"'aImMgGeEdD\u00a0"), max_size=9))
@example("#1 north")
@example("ImageIdeas_7")
@example('"q"')
def test_ids_come_back_or_are_refused(tmp_path_factory, image):
    path = tmp_path_factory.mktemp("csv") / "roads.csv"
    if roadio.UNFIT_IN_ID.search(image):
        with pytest.raises(InputError, match="Expected an image id without"):
            roadio.write_challenge_csv(path, {image: [road(0, 0, 10, 0)]})
        image = roadio.UNFIT_IN_ID.sub("_", image)
    roadio.write_challenge_csv(path, {image: [road(0, 0, 10, 0)]})
    assert list(roadio.read_challenge_csv(path)) == [image]


def test_graphs_of_osmnx_are_read_once_a_street():
    graph = nx.MultiDiGraph()
    graph.add_node(1, x=0.0, y=0.0)
    graph.add_node(2, x=10.0, y=0.0)
    graph.add_edge(1, 2)
    graph.add_edge(2, 1)
    bend = LineString([(0, 0), (5, 5), (10, 0)])
    graph.add_edge(1, 2, geometry=bend)
    graph.add_edge(2, 1, geometry=bend.reverse())
    roads = roadio.from_networkx(graph)
    assert sorted(len(line) for line in roads) == [2, 3]
    graph.add_edge(1, 3)
    with pytest.raises(InputError, match="nodes with x and y"):
        roadio.from_networkx(graph)


def test_networkx_round_trip():
    roads = [road(0, 0, 5, 5, 10, 0), road(10, 0, 20, 0), road(0, 0, 10, 0), road(0, 0, 0, 9)]
    graph = to_networkx(from_lines(roads))
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (4, 4)
    back = {line.tobytes() for line in roadio.from_networkx(graph)}
    assert back == {line.tobytes() for line in roads}


def test_graphs_of_the_world_are_brought_to_pixels_or_refused():
    grid = Grid((0.5, 0, 500_000, 0, -0.5, 6_700_000), "EPSG:32635", 200, 200)
    graph = nx.MultiDiGraph(crs="epsg:4326")
    for node, (lon, lat) in enumerate(project(grid.pixel_to_world(np.array([[10, 20], [110, 20]])), grid.crs, LONLAT)):
        graph.add_node(node, x=lon, y=lat)
    graph.add_edge(0, 1)
    assert roadio.from_networkx(graph, grid)[0].round(3).tolist() == [[10, 20], [110, 20]]
    with pytest.raises(InputError, match=r"the graph: .* coordinates of WGS 84; give the grid"):
        roadio.from_networkx(graph)
    del graph.graph["crs"]
    with pytest.raises(InputError, match="the graph: .* looks like degrees"):
        roadio.from_networkx(graph)


def test_damaged_csv_files_are_named_or_read(tmp_path, damages):
    """A bit or the end of a file is lost, plain and gzipped."""
    text = "ImageId,WKT_Pix\n" + "".join(f'img{n},"LINESTRING ({n} 2, 30{n} 4.5, 9 {n})"\n' for n in range(20))
    for name, whole in (("a.csv", text.encode()), ("a.csv.gz", gzip.compress(text.encode()))):
        for what, data in damages(whole, 100):
            (tmp_path / name).write_bytes(data)
            try:
                assert all(
                    line.shape[1] == 2 for r in roadio.read_challenge_csv(tmp_path / name).values() for line in r
                )
            except InputError as error:
                assert name in str(error), what
