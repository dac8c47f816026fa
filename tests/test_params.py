"""Parameters: params files hold known keys only, and a wrong name or type stops with the nearest known name."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import ParameterError
from lib.parameters import NOTEBOOKS, check, check_notebook, declared, load
from lib.paths import ROOT

FILES = sorted((ROOT / "params").glob("*/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_params_file_holds_known_keys_of_the_right_type(path):
    values = load(path.parent.name, path.stem)
    assert values["area"] == path.parent.name
    assert set(yaml.safe_load(path.read_text()) or {}) <= set(values) - {"area"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_params_file_says_only_what_differs_from_the_notebook(path):
    defaults = {name: default for name, (_, default) in declared(path.stem).items()}
    own = yaml.safe_load(path.read_text()) or {}
    repeated = [k for k, v in own.items() if v == defaults[k]]
    assert not repeated, f"{repeated} repeat the notebook's own values"


def test_unknown_name_stops_with_the_nearest_known_one():
    with pytest.raises(ParameterError, match="nearest known one is 'epochs'"):
        check("02_train_stage1", {"epoch": 3})


@pytest.mark.parametrize(("name", "value"), [("epochs", "50"), ("epochs", True), ("epochs", 1.5), ("area", 3)])
def test_wrong_type_stops_and_names_both(name, value):
    with pytest.raises(ParameterError, match=f"{name}.* is a .*{type(value).__name__} came"):
        check("02_train_stage1", {name: value})


def test_a_number_that_yaml_reads_as_text_gets_a_hint():
    with pytest.raises(ParameterError, match=r"write 1\.0e-4"):
        check("02_train_stage1", {"learning_rate": yaml.safe_load("1e-4")})


@given(st.integers(min_value=1, max_value=100))
def test_whole_numbers_are_floats_where_a_float_is_declared(value):
    checked = check("01_rasterize_osm", {"gsd_m": value})["gsd_m"]
    assert isinstance(checked, float) and checked == value


def test_injected_cell_is_read_back_from_the_history():
    known = {name: default for name, (_, default) in declared("02_train_stage1").items()}
    namespace = {**known, "epochz": 3, "In": ["", "epochs: int = 1", "# Parameters\nepochz = 3\n", "check"]}
    with pytest.raises(ParameterError, match="epochz"):
        check_notebook("02_train_stage1", namespace)
    # the same name made by the person at the keyboard, in a cell of another kind, is none of our business
    namespace["In"] = ["", "epochs: int = 1", "epochz = 3", "check"]
    assert check_notebook("02_train_stage1", namespace)["epochs"] == known["epochs"]


@pytest.fixture
def village(tmp_path, monkeypatch):
    """An area whose params file for stage 1 says two things."""
    monkeypatch.setattr("lib.parameters.ROOT", tmp_path)
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    path = tmp_path / "params" / "my-village" / "02_train_stage1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("epochs: 3\nbatch_size: 2\n")
    return path


def settled(cell, injected=""):
    """What notebook 2 goes on with, where some values of its parameters cell are others, and papermill passed some."""
    namespace = {name: default for name, (_, default) in declared("02_train_stage1").items()}
    history = ["", "epochs: int = 12", *([f"# Parameters\n{injected}"] if injected else []), "check"]
    exec(injected, namespace)  # as IPython does
    namespace |= cell | {"In": history}
    values = check_notebook("02_train_stage1", namespace)
    assert all(namespace[name] == value for name, value in values.items())
    return values


def test_the_call_wins_over_the_file_and_the_file_over_the_cell(village, capsys):
    default = declared("02_train_stage1")["epochs"][1]
    assert settled({"area": "my-village"})["epochs"] == 3
    assert capsys.readouterr().out == "from params/my-village/02_train_stage1.yaml: batch_size, epochs\n"
    values = settled({"area": "my-village", "batch_size": 6})  # edited in the cell, as in JupyterLab
    assert (values["epochs"], values["batch_size"]) == (3, 6)
    capsys.readouterr()
    # what papermill passed counts though it is the cell's own value
    values = settled({}, f'area = "my-village"\nepochs = {default}')
    assert (values["epochs"], values["batch_size"]) == (default, 2)
    origins = "from this call: epochs\nfrom params/my-village/02_train_stage1.yaml: batch_size\n"
    assert capsys.readouterr().out == origins


def test_the_second_cell_run_again_by_itself_reads_the_file_again(village):
    namespace = {name: default for name, (_, default) in declared("02_train_stage1").items()}
    namespace |= {"area": "my-village", "seed": 4}
    namespace["parameters"] = check_notebook("02_train_stage1", namespace)
    village.write_text("epochs: 8\nseed: 5\n")  # as a panel saves it
    values = check_notebook("02_train_stage1", namespace)
    assert (values["epochs"], values["batch_size"], values["seed"]) == (8, 4, 4)
    assert (values.stated, values.filed) == ({"area", "seed"}, {"epochs"})
    namespace["parameters"], namespace["epochs"] = values, 9
    assert check_notebook("02_train_stage1", namespace)["epochs"] == 9


def test_an_area_has_its_own_file_and_its_name_stands_nowhere_in_it(village):
    with pytest.raises(ParameterError, match=r"no parameters at params/my-vilage/02_train_stage1\.yaml"):
        settled({"area": "my-vilage"})
    village.write_text("area: demo\n")
    with pytest.raises(ParameterError, match="area is the name of the folder, 'my-village': remove the line"):
        settled({"area": "my-village"})


def test_no_such_area_or_notebook():
    with pytest.raises(ParameterError, match="areas are"):
        load("atlantis", NOTEBOOKS[0])
    with pytest.raises(ParameterError, match="expected one of"):
        declared("09_nothing")


def test_a_checkpoint_is_a_file_or_the_name_of_one_that_ships():
    known = {name: default for name, (_, default) in declared("05_map_area").items()}
    assert check_notebook("05_map_area", known | {"checkpoint": "massachusetts-roads"})["checkpoint"]
    with pytest.raises(ParameterError, match="checkpoint is 'massachusetts-road', but there is no"):
        check_notebook("05_map_area", known | {"checkpoint": "massachusetts-road"})
