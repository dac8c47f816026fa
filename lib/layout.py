"""Where the files of a new area lie, as its params files are to say it."""

import glob
from collections import Counter
from collections.abc import Mapping
from os.path import normpath
from pathlib import Path

from lib.chips.manifest import LABELS
from lib.chips.naming import as_glob
from lib.errors import InputError
from lib.osm.layers import IMAGE_SUFFIXES
from lib.paths import ROOT


def layout(images: str, labels: Mapping[str, str], must_exist: bool) -> tuple[str, str, dict[str, str]]:
    """`data_dir`, the pattern of images in it, and labels: in it, too, where they lie beside the images."""
    found = {key: Path(normpath(Path.cwd() / Path(text).expanduser())) for key, text in labels.items() if text}
    kept = {key: "overpass" for key, text in labels.items() if text == "overpass"}
    found = {key: path for key, path in found.items() if key not in kept}
    for key, path in found.items():
        if "{" not in str(path) and not path.exists():
            raise InputError(f"{key.upper()}: there is no {path}; expected a vector file, or masks/{{stem}}.png")
    path = Path(normpath(Path.cwd() / Path(images).expanduser()))
    if path.is_dir():
        path = path / _pattern_of(path)
    # a folder or file that exists is no pattern, whatever brackets its name has
    base = next(p for p in path.parents if p.is_dir() or not must_exist)
    name = glob.escape(str(path.relative_to(base))) if path.is_file() else str(path.relative_to(base))
    if must_exist and not any(base.glob(as_glob(name))):
        raise InputError(f"IMAGES: no image matches {path}")
    both = (base, base.parent)
    data_dir = next((d for d in both if all(p.is_relative_to(d) for p in found.values())), base)
    if not must_exist:  # the layout that docs/own-imagery.md draws
        data_dir = base.parent
    inside = {key: str(p.relative_to(data_dir) if p.is_relative_to(data_dir) else p) for key, p in found.items()}
    shown = data_dir.relative_to(ROOT) if data_dir.is_relative_to(ROOT) else data_dir
    named = inside | kept
    pattern = Path(glob.escape(str(base.relative_to(data_dir)))) / name
    return str(shown), str(pattern), {key: named[key] for key in LABELS if key in named}


def _pattern_of(folder: Path) -> str:
    """The pattern of a folder's images of the most frequent kind, however its suffix is spelt; says what it leaves."""
    files = [p.suffix for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."]
    if not files:
        raise InputError(f"IMAGES: no image in {folder}; expected {', '.join(IMAGE_SUFFIXES)}")
    (kind, _), *others = Counter(suffix.lower() for suffix in files).most_common()
    if others:
        left = ", ".join(f"{number} {suffix}" for suffix, number in others)
        print(
            f"warning: of the images in {folder} only {kind} are taken, and left out: {left}; an entry "
            "of its own in `sources` takes another kind"
        )
    spellings = sorted({suffix for suffix in files if suffix.lower() == kind})
    letters = ["".join(sorted(set(place))) for place in zip(*spellings, strict=True)]
    return "*" + "".join(f"[{of}]" if len(of) > 1 else of for of in letters)  # .tif beside .TIF: .[Tt][Ii][Ff]
