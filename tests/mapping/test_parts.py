"""The folder of an unfinished map: whose parts it holds, and when they go."""

from functools import partial
from pathlib import Path

import pytest

from lib.errors import InputError
from lib.mapping.area import map_rasters
from lib.mapping.options import MapOptions


def mapped(model, scene, out, lines=None, **values):
    options = MapOptions(**{"window_px": 64, "overlap_px": 16, "views": "none"} | values)
    return map_rasters(model, [scene], out, options, (lambda line: None) if lines is None else lines.append)


@pytest.fixture
def scene(write_scene, smooth, tmp_path):
    return write_scene(tmp_path / "a.tif", smooth(130, 200))


class StoppedError(Exception):
    """Stands for a process that ends here."""


def stop_after(number, forward, model, x):
    if model.network.count >= number:
        raise StoppedError
    return forward(x)


def test_another_threshold_leaves_what_is_not_of_this_map(scene, tmp_path, red, monkeypatch):
    out = tmp_path / "out"
    mapped(red(), scene, out)
    (out / "parts").mkdir()
    (out / "parts/survey.gpkg").write_text("mine")
    mapped(red(), scene, out, threshold=0.7)
    assert (out / "parts/survey.gpkg").read_text() == "mine"

    # nor does it take the windows of another network, whose map is unfinished
    (out / "parts/survey.gpkg").unlink()
    other = red(digest="b")
    monkeypatch.setattr(other.network, "forward", partial(stop_after, 4, other.network.forward, other))
    with pytest.raises(StoppedError):
        mapped(other, scene, out)
    before = sorted((out / "parts").iterdir())
    mapped(red(), scene, out, threshold=0.6)
    assert sorted((out / "parts").iterdir()) == before and len(before) > 3
    (out / "parts/survey.gpkg").write_text("mine")
    mapped(red(digest="b"), scene, out)
    assert [path.name for path in (out / "parts").iterdir()] == ["survey.gpkg"]


@pytest.mark.parametrize("digest", ["a", "b"])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_killed_while_parts_are_removed_any_call_goes_on(scene, tmp_path, red, monkeypatch, digest, number):
    out, unlink, gone = tmp_path / "out", Path.unlink, []

    def dying(path, missing_ok=False):
        if (out / "map.json").exists() and path.parent.name == "parts" and not path.name.startswith("."):
            if len(gone) == number:
                raise StoppedError
            gone.append(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", dying)
    with pytest.raises(StoppedError):
        mapped(red(), scene, out)
    monkeypatch.undo()
    assert (out / "parts").exists() and (out / "map.json").exists()
    model = red(digest=digest)
    mapped(model, scene, out)
    assert bool(model.network.count) == (digest == "b"), "the map was finished"
    assert not (out / "parts").exists(), "what was left is removed"


def test_what_is_in_the_way_is_named_and_stays(scene, tmp_path, red):
    for name in ("parts", "map.json", "mask.tif"):
        out = tmp_path / f"file {name}"
        out.mkdir()
        (out / name).write_text("[1]")
        with pytest.raises(InputError, match=f"{name}.*(another|no map)"):
            mapped(red(), scene, out)
        assert (out / name).read_text() == "[1]" and len(list(out.iterdir())) == 2
    for name in ("map.json", "probability.tif"):
        out = tmp_path / f"folder {name}"
        (out / name).mkdir(parents=True)
        with pytest.raises(InputError, match=f"{name}.*(another|no map)"):
            mapped(red(), scene, out)
        assert (out / name).is_dir() and len(list(out.iterdir())) == 2
    # a foreign map.json doesn't make foreign rasters a map's
    out = tmp_path / "both"
    out.mkdir()
    (out / "map.json").write_text('{"center": [0, 0]}')
    (out / "mask.tif").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"map\.json"):
        mapped(red(), scene, out)
    assert (out / "mask.tif").read_bytes() == b"mine"
    # nor do foreign parts, and a map of other classes removes nothing then
    out = tmp_path / "parts of others"
    (out / "parts").mkdir(parents=True)
    (out / "parts/survey.gpkg").write_text("mine")
    (out / "mask_roads.tif").write_bytes(b"mine")
    with pytest.raises(InputError, match="no map"):
        mapped(red(), scene, out)
    assert (out / "mask_roads.tif").read_bytes() == b"mine"
    # what a power cut left of map.json is a map's, and a finished map needs no parts
    out = tmp_path / "own"
    mapped(red(), scene, out)
    (out / "map.json").write_bytes(b"")
    mapped(red(), scene, out)
    (out / "parts").write_text("mine")
    lines = []
    mapped(red(), scene, out, lines)
    assert "finished already" in lines[-1] and (out / "parts").read_text() == "mine"
