"""
How images and labels are paired by their names: parts of a pattern in braces.

`images: train/{id}_sat.jpg` beside `clean: train/{id}_mask.png` says that both files of a pair share what stands for
`{id}`. A part is any text without a slash; one that stands twice is the same text twice. `*`, `?`, `[abc]` and `**/`
mean what they mean in every pattern of files.
"""

import re
from functools import lru_cache
from pathlib import PurePath

PART = re.compile(r"\{([^\W\d]\w*)\}")
STEM = "stem"  # the part that every image has: its file name without suffix
_TOKEN = re.compile(r"\{(?P<part>[^\W\d]\w*)\}|(?P<deep>\*\*/)|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_MEANING = {"*": "[^/]*", "?": "[^/]"}


def parts_of(pattern: str) -> set[str]:
    """Names of the parts in a pattern."""
    return set(PART.findall(pattern))


def as_glob(pattern: str) -> str:
    """The pattern with `*` for each named part: it finds at least the files that are meant."""
    return PART.sub("*", pattern)


def match(pattern: str, name: str) -> dict[str, str] | None:
    """
    Text of each named part in the name of an image, its stem among them; None where the name is another one.

    Parameters
    ----------
    pattern, name
        Both relative to the same folder, with forward slashes.
    """
    found = _regex(pattern).fullmatch(name) if parts_of(pattern) else True
    if found is None:
        return None
    return {STEM: PurePath(name).stem} | ({} if found is True else found.groupdict())


def fill(pattern: str, parts: dict[str, str]) -> str:
    """The pattern with the text of each part that is known."""
    return PART.sub(lambda found: parts.get(found[1], found[0]), pattern)


@lru_cache(maxsize=64)
def _regex(pattern: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def meaning(token: re.Match[str]) -> str:
        text, part = token[0], token["part"]
        if part in seen:
            return f"(?P={part})"
        if part:
            seen.add(part)
            return f"(?P<{part}>[^/]+)"
        if token["deep"]:
            return "(?:[^/]+/)*"
        if len(text) > 1:  # [abc], [!abc]
            return "[" + text[1:].replace("\\", r"\\").replace("[", r"\[").replace("!", "^", 1 if text[1] == "!" else 0)
        return _MEANING.get(text, re.escape(text))

    return re.compile(_TOKEN.sub(meaning, pattern))
