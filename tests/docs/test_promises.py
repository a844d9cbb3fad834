"""docs/promises.md: each promise is in the words of README.md, and what shows it is there."""

import re
from functools import cache
from pathlib import Path

import pytest
from named_tests import functions_of

REPO = Path(__file__).resolve().parents[2]
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`|measure `(\w+)`|`\.ci/run`: `([^`]+)`")


def text_of(name: str) -> str:
    return (REPO / name).read_text(encoding="utf-8")


@cache
def flat_readme() -> str:
    return " ".join(text_of("README.md").split())


def promises() -> tuple[dict[str, str], dict[str, str]]:
    """Return {words: what shows them}, and {words: why nothing does} from the last table."""
    shown, _, unshown = text_of("docs/promises.md").partition("## What nothing shows")
    first, second = (
        {match[1]: match[2] for match in re.finditer(r"^\| “(.+)” \| (.+) \|$", part, re.MULTILINE)}
        for part in (shown, unshown)
    )
    return first, second


SHOWN, UNSHOWN = promises()


@cache
def measures() -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", text_of("benchmarks/README.md"), re.MULTILINE))


def faults(proofs: str) -> list[str]:
    """Return what of a cell is not there, or is no proof at all."""
    found = [rest for rest in PROOF.sub("", proofs).split(",") if rest.strip()]
    for file, test, measure, line in PROOF.findall(proofs):
        if file and test not in functions_of(file):
            found.append(f"{file}::{test}")
        if measure and measure not in measures():
            found.append(f"measure {measure}")
        if line and not re.search(f"^{re.escape(line)}$", text_of(".ci/run"), re.MULTILINE):
            found.append(f".ci/run: {line}")
    return found


def test_every_row_is_read() -> None:
    rows = [line for line in text_of("docs/promises.md").splitlines() if line.startswith("| “")]
    assert len(SHOWN) + len(UNSHOWN) == len(rows) > 100
    assert SHOWN.keys() & UNSHOWN.keys() == set()


@pytest.mark.parametrize("words", [*SHOWN, *UNSHOWN])
def test_the_words_are_the_readme_s(words: str) -> None:
    assert words.replace(r"\|", "|") in flat_readme()


@pytest.mark.parametrize("words", SHOWN)
def test_what_shows_it_is_there(words: str) -> None:
    assert PROOF.search(SHOWN[words])
    assert faults(SHOWN[words]) == []


def test_every_section_that_promises_something_has_promises() -> None:
    """What a section of README.md is about is told by its headings; a new one needs its rows."""
    sections = re.split(r"^## .*$", text_of("README.md"), flags=re.MULTILINE)
    assert len(sections) > 10
    for section in (" ".join(section.split()) for section in sections):
        assert sum(words.replace(r"\|", "|") in section for words in SHOWN) >= 3, section[:80]


def test_what_is_missing_is_found() -> None:
    """The checks themselves find what they are for."""
    name = "tests/docs/test_promises.py"
    assert faults(f"`{name}::test_what_is_missing_is_found`, measure `heatmaps`, `.ci/run`: `make repro`") == []
    assert faults(f"`{name}::test_nothing`") == [f"{name}::test_nothing"]
    assert faults("`tests/nowhere.py::test_nothing`") == ["tests/nowhere.py::test_nothing"]
    assert faults("measure `nothing`, `.ci/run`: `make`") == ["measure nothing", ".ci/run: make"]
    assert faults("I have tried it, measure `heatmaps`") == ["I have tried it"]
