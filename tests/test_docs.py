"""What the pages promise exists: errors, links, keys, parameters."""

import re
from dataclasses import fields

import pytest

from lib.chips.options import ChipOptions, SourceOptions
from lib.chips.splits import split_by_hash
from lib.limits import limits_of
from lib.osm.lanes import LaneProfile
from lib.parameters import NotebookSettings, declared
from lib.paths import ROOT
from lib.show.reports import PROTOCOL

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_and_pictures_are_there(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_names_of_the_library_are_there(page):
    for dotted in set(re.findall(r"\blib(?:\.\w+)+", page.read_text())):
        parts = dotted.split(".")
        module = next(
            ROOT.joinpath(*parts[:n]) for n in range(len(parts), 0, -1) if _is_module(ROOT.joinpath(*parts[:n]))
        )
        rest = parts[len(module.relative_to(ROOT).parts) :]
        source = (module / "__init__.py" if module.is_dir() else module.with_suffix(".py")).read_text()
        assert not rest or re.search(rf"\b{rest[0]}\b", source), dotted


def _is_module(path) -> bool:
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_readme_is_read_in_a_minute():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_errors_of_the_troubleshooting_page_are_raised_somewhere():
    source = re.sub(r'"\s*\n\s*f?"', "", "".join(p.read_text() for p in (ROOT / "lib").rglob("*.py")))
    source = re.sub(r"\{[^{}]*\}", "…", source)
    rows = [line for line in (ROOT / "docs/troubleshooting.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) >= 10
    for row in rows:
        for said in re.findall(r"`([^`]+)`", row.split("|")[1]):
            longest = max(re.split(r"…|'[^']*'|\d+(?=\s)", said), key=len).strip()
            assert len(longest) > 8 and longest in source, said


def test_own_imagery_names_every_key_and_parameter():
    text = (ROOT / "docs/own-imagery.md").read_text()
    names = {key.name for key in fields(SourceOptions)} | set(declared("01_rasterize_osm")) - {
        "area",
        "data_dir",
        "work_dir",
        "render_sample",
        "seed",
    }
    assert not sorted(name for name in names if f"`{name}`" not in text)


def test_own_imagery_says_the_ranges_that_the_errors_say():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", (ROOT / "docs/own-imagery.md").read_text(), re.MULTILINE))
    limits = limits_of(NotebookSettings) | limits_of(ChipOptions)
    limits |= dict.fromkeys(("lane_width_m", "lane_widths_m"), limits_of(LaneProfile)["lane_width_m"])
    ranges = {name: str(known) for name, known in limits.items() if known.choices is None and not known.pattern}
    own = [name for name in ranges if name in declared("01_rasterize_osm") and name != "seed"]
    assert len(own) >= 11 and {name: rows[name] for name in own} == {name: ranges[name] for name in own}


def test_the_protocol_is_the_version_that_reports_name():
    text = (ROOT / "docs/protocol.md").read_text()
    assert text.startswith(f"# Protocol, version {PROTOCOL}\n")
    for name, fraction in re.findall(r"`([^`]+)` (0\.\d{6})", text):
        ends = [f"{split_by_hash([name], 0.0, share)[0]}" for share in (float(fraction), float(fraction) + 1e-6)]
        assert ends == ["train", "test"], name


def test_each_difference_to_the_release_is_held_by_a_test_that_exists():
    rows = [line for line in (ROOT / "docs/paper-and-release.md").read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row.count("|") == 6 and "---" not in row and "held by" not in row]
    assert len(rows) >= 20
    for row in rows:
        file, _, test = re.fullmatch(r".*`(tests/[\w/]+\.py)(::)?(\w*)` \|", row).groups()
        assert (ROOT / file).is_file(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(), test
