"""What docs/architecture.md and docs/extending.md name is there, and the drawing shows what test_structure holds to."""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from test_structure import ANYONE, AT_THE_DOOR, LAYERS

from tools.deps import STAGES

REPO = Path(__file__).resolve().parents[2]
DOCS = ("architecture.md", "extending.md")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_CLASS = re.compile(r"[A-Z][a-z]\w*")
_FILE = re.compile(r"[\w./-]+\.(py|yaml|json|md|toml)|[\w./-]+/")
_MODULE = re.compile(r"python -m ([\w.]+)( .*)?")


# --- what is named ------------------------------------------------------------------------------------------------


def text_of(doc: str) -> str:
    return (REPO / "docs" / doc).read_text(encoding="utf-8")


def spans(text: str) -> list[str]:
    """Return what stands between single backticks, each once, in order."""
    found = re.findall(r"`([^`]+)`", _BLOCK.sub("", text))
    return list(dict.fromkeys(" ".join(span.split()) for span in found))


def named(pattern: re.Pattern[str]) -> list[Any]:
    """Return the spans of all docs that look so, as parameters; a file is no dotted name."""
    return [
        pytest.param(doc, span, id=f"{doc}:{span}")
        for doc in DOCS
        for span in spans(text_of(doc))
        if pattern.fullmatch(span) and (pattern is _FILE or not _FILE.fullmatch(span))
    ]


# --- what there is ------------------------------------------------------------------------------------------------


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def defined(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield each name that a module's or a class's own statements define."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name, node


def has(body: Sequence[ast.stmt], names: Sequence[str]) -> bool:
    """Tell whether a body defines the first name, and what that is the next one, and so on."""
    if not names:
        return True
    node = dict(defined(body)).get(names[0])
    return node is not None and (len(names) == 1 or (isinstance(node, ast.ClassDef) and has(node.body, names[1:])))


def is_code(name: str) -> bool:
    """Tell whether a dotted name, from actrec/ or from the project on, is a module or stands in one; or in a class."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        for folder in (REPO / "actrec", REPO):
            path = folder.joinpath(*parts[:count])
            if path.with_suffix(".py").is_file():
                return has(tree_of(path.with_suffix(".py")).body, parts[count:])
    return any(has(module.body, parts) for module in modules()) if parts[0][0].isupper() else False


@cache
def modules() -> list[ast.Module]:
    return [tree_of(path) for folder in ("actrec", "pipeline") for path in sorted((REPO / folder).rglob("*.py"))]


@cache
def settings() -> frozenset[str]:
    """Return the settings that any recipe has, and the sections that hold them."""
    yaml = YAML(typ="safe", pure=True)
    loaded = [yaml.load(path.read_text(encoding="utf-8")) for path in (REPO / "recipes").glob("*.yaml")]
    return frozenset(name for recipe in loaded for name in dotted(recipe))


def dotted(value: Any, name: str = "") -> Iterator[str]:
    if name:
        yield name
    if isinstance(value, dict):
        for key, part in value.items():
            yield from dotted(part, f"{name}.{key}".lstrip("."))


def of_the_doc(doc: str) -> str:
    """Return the blocks of a doc: what an example adds is named before it is there."""
    return "\n".join(content for _, content in _BLOCK.findall(text_of(doc)))


# --- the one against the other ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("doc", "name"), named(_DOTTED))
def test_a_dotted_name_is_of_the_code_or_a_setting(doc: str, name: str) -> None:
    assert is_code(name) or name in settings()


@pytest.mark.parametrize(("doc", "name"), named(_CLASS))
def test_a_class_is_there(doc: str, name: str) -> None:
    assert is_code(name) or re.search(rf"^\+?class {name}\b", of_the_doc(doc), re.MULTILINE)


@pytest.mark.parametrize(("doc", "name"), named(_FILE))
def test_a_file_is_there(doc: str, name: str) -> None:
    assert (REPO / name).exists() or f"`{name}`, new:" in text_of(doc)


@pytest.mark.parametrize(("doc", "command"), named(_MODULE))
def test_a_module_that_is_run_is_there(doc: str, command: str) -> None:
    found = _MODULE.fullmatch(command)
    assert found and is_code(found[1])


def test_the_checks_find_what_they_are_for() -> None:
    assert spans("`a.b` and `c\n d`\n```text\n`e`\n```\n") == ["a.b", "c d"]
    assert is_code("store.frames.clip_jobs") and is_code("pipeline.frames.decode") and is_code("Recogniser.learn")
    assert not is_code("store.frames.clip_job") and not is_code("Recogniser.unlearn") and not is_code("frames.enabled")
    assert "frames.enabled" in settings() and "frames.enable" not in settings()
    assert len(named(_DOTTED)) > 100 and len(named(_CLASS)) > 10 and len(named(_FILE)) > 10 and named(_MODULE)


# --- the recipes --------------------------------------------------------------------------------------------------


def test_every_recipe_is_followed() -> None:
    """By a section that has it in its heading, or by a line that says how it differs from another."""
    text, recipes = text_of("architecture.md"), {path.stem for path in (REPO / "recipes").glob("*.yaml")}
    walked = [name for heading in re.findall(r"^## .*$", text, re.MULTILINE) for name in spans(heading)]
    others = dict(re.findall(r"^- `([\w-]+)`: as `([\w-]+)`, but ", text, re.MULTILINE))
    assert sorted([*walked, *others]) == sorted(recipes)
    assert set(others.values()) <= recipes


# --- the drawings -------------------------------------------------------------------------------------------------


def drawings() -> list[str]:
    return [content for kind, content in _BLOCK.findall(text_of("architecture.md")) if kind == "text"]


def test_the_rows_of_the_drawing_are_those_that_imports_keep_to() -> None:
    known = {name for layer in LAYERS for name in layer}
    rows = [set(line.split()) for line in drawings()[0].splitlines()]
    assert [row for row in rows if row and row <= known] == [set(layer) - {"__main__"} for layer in LAYERS]


def test_who_is_named_beside_the_drawing() -> None:
    text = text_of("architecture.md")
    at_the_door, anyone = re.search(r"first\s+row:([^)]*)\)", text), re.search(r"All\s+may\s+import([^.]*)\.", text)
    assert at_the_door and set(spans(at_the_door[1])) == AT_THE_DOOR
    assert anyone and set(spans(anyone[1])) == ANYONE


def test_the_stages_are_drawn_in_their_order() -> None:
    drawn = [line.split()[0] for line in drawings()[1].splitlines()]
    assert drawn == [stage for stage in STAGES if stage in drawn] and len(drawn) >= 8
