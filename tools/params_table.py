"""Prints docs/params.md: what each setting may be, what it says, and what it runs again.

`python -m tools.params_table > docs/params.md`.

What may stand in params.yaml is said by the models of actrec/params/, in what their docstrings and comments say, and by
the comments of the recipes; what runs again, by dvc.yaml.
"""

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from actrec.params.schema import Params
from actrec.params.section import Section
from pipeline import paths
from tools.deps import STAGES

REPO = Path(__file__).resolve().parents[1]
_SCHEMA = Params.model_json_schema()
# Of keys that the user chooses, such as the names of heads.
_ANY = "<name>"
_BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "multipleOf": "multiple of",
}
# A comment that says no more than which values there are.
_CHOICES = re.compile(r"# \w+( \| \w+)+")
_HEAD = """# What each setting may be, and what it runs again

Made by `python -m tools.params_table > docs/params.md`, from `actrec/params/`, the recipes' comments and `dvc.yaml`; a
test holds it up to date.

A change of a setting runs the stages again that name it in `dvc.yaml`; then those which read what these have written,
and only if that is no longer the same. (`ingest` reads what `demo` draws where `data.root` is
`data/raw/demo`.) `<name>` stands for a name that you choose; (csv), (resnet/file) are the kinds that have the setting.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of params.yaml.

    `kinds` are the choices of the section (`kind: csv`) that have it, () if all have. `values` says what it may be, and
    `words` what it is.
    """

    key: str
    kinds: tuple[str, ...]
    values: str
    words: str


def settings() -> list[Setting]:
    """Return every setting that may stand in params.yaml, in the order of the models."""
    found: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for setting in _settings_of(_SCHEMA, "", (), "Params"):
        same = (setting.key, setting.values, setting.words)
        found[same] = tuple(dict.fromkeys(found.get(same, ()) + setting.kinds))
    choices = {key.removesuffix(".kind"): values for key, values, _ in found if key.endswith(".kind")}
    return [
        Setting(key, () if _listed(kinds) == _choice_above(key, choices) else kinds, values, words)
        for (key, values, words), kinds in found.items()
    ]


def _choice_above(key: str, choices: Mapping[str, str]) -> str:
    """Return the kinds of the innermost section around a setting that is a choice by `kind`, "" if none is."""
    while key := key.rpartition(".")[0]:
        if key in choices:
            return choices[key]
    return ""


def stages_of(key: str) -> tuple[list[str], list[str]]:
    """Return the stages that a change of a setting runs again, and those that then may have other inputs."""
    pipeline = _pipeline()
    declared = [s for s in STAGES if any(key == own or key.startswith(f"{own}.") for own in pipeline[s]["params"])]
    reached = set(declared)
    for stage in STAGES:
        reads = {name.replace("${data.root}", str(paths.DEMO)) for name in pipeline[stage]["deps"]}
        if any(reads & _made_by(pipeline[earlier]) for earlier in reached):
            reached.add(stage)
    return declared, [stage for stage in STAGES if stage in reached and stage not in declared]


@cache
def _pipeline() -> Mapping[str, Any]:
    return YAML(typ="safe", pure=True).load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def _made_by(stage: Mapping[str, Any]) -> set[str]:
    return {out if isinstance(out, str) else next(iter(out)) for out in [*stage["outs"], *stage.get("metrics", [])]}


# --- what may stand there -----------------------------------------------------------------------------------------


def _settings_of(node: Mapping[str, Any], key: str, kinds: tuple[str, ...], owner: str) -> Iterator[Setting]:
    """Yield the settings below a node of the JSON schema; `owner` is the model that it stands in."""
    variants = _variants(node)
    if variants:
        field = key.rpartition(".")[2]
        if plain := [choice for choice in node.get("anyOf", [node]) if not _variants(choice)]:
            words = _words(owner, field, key)
            other = "left out" if "default" in node else _values({"anyOf": plain})
            yield Setting(key, kinds, f"{other}, or the settings below", words)
        if tags := _tags(node):
            yield Setting(f"{key}.kind", kinds, _listed(tags), _about_kinds(variants))
        for name, own in variants.items():
            own = () if len(variants) == 1 else own
            yield from _fields(name, key, tuple(f"{of}/{tag}" for of in kinds for tag in own) or own or kinds)
    elif "patternProperties" in node and any(_variants(part) for part in node["patternProperties"].values()):
        (part,) = node["patternProperties"].values()
        yield from _settings_of(part, f"{key}.{_ANY}", kinds, owner)
    elif "properties" in node:
        for name, part in node["properties"].items():
            yield from _settings_of(part, f"{key}.{name}".lstrip("."), kinds, owner)
    else:
        yield Setting(key, kinds, _values(node), _words(owner, key.rpartition(".")[2], key))


def _fields(model: str, key: str, kinds: tuple[str, ...]) -> Iterator[Setting]:
    for name, part in _SCHEMA["$defs"][model]["properties"].items():
        if name != "kind":
            yield from _settings_of(part, f"{key}.{name}", kinds, model)


def _variants(node: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return {model: its kinds} of the sections that a node may be."""
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for tag, name in _tags(node).items():
        found[name] += (tag,)
    for choice in [node, *node.get("anyOf", [])]:
        if name := _ref(choice):
            found[name] += ()
    return found


def _tags(node: Mapping[str, Any]) -> dict[str, str]:
    """Return {kind: model} of a node that is a choice by `kind`."""
    found = {}
    for choice in [node, *node.get("anyOf", [])]:
        mapping = choice.get("discriminator", {}).get("mapping", {})
        found |= {tag: _ref({"$ref": ref}) for tag, ref in mapping.items()}
        if (name := _ref(choice)) and (kind := _SCHEMA["$defs"][name]["properties"].get("kind")):
            found |= dict.fromkeys([kind["const"]] if "const" in kind else kind["enum"], name)
    return found


def _ref(node: Mapping[str, Any]) -> str:
    return node.get("$ref", "").rpartition("/")[2]


def _values(node: Mapping[str, Any]) -> str:
    """Return in words what a setting may be that is no section."""
    if "anyOf" in node:
        return ", or ".join(_values(choice) for choice in node["anyOf"])
    if "const" in node or "enum" in node:
        return _listed(node.get("enum", [node.get("const")]))
    bounds = [f"{sign} {node[name]:g}" for name, sign in _BOUNDS.items() if name in node]
    match node["type"]:
        case "boolean":
            return "`true` · `false`"
        case "integer":
            return ", ".join(["whole number", *bounds])
        case "number":
            return ", ".join(["number", *bounds])
        case "null":
            return "`null`"
        case "array":
            lengths = {node.get("minItems"), node.get("maxItems")}
            count = f" of {node['minItems']}" if len(lengths) == 1 and None not in lengths else ""
            return f"list{count}: {_values(node['items'])}"
        case "object":
            part = node.get("additionalProperties") or next(iter(node["patternProperties"].values()))
            return f"{{name: {_values(part)}}}"
    return "text"


def _listed(values: Iterable[Any]) -> str:
    return " · ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in values)


# --- what it says -------------------------------------------------------------------------------------------------


@cache
def _models() -> dict[str, type[Section]]:
    waiting, found = [Section], {}
    while waiting:
        model = waiting.pop()
        found[model.__name__] = model
        waiting += model.__subclasses__()
    return found


def _about_kinds(variants: Mapping[str, Sequence[str]]) -> str:
    """Return the first line of each model's docstring, behind the kinds that it is of."""
    lines = {name: (inspect.getdoc(_models()[name]) or "").partition("\n")[0] for name in variants}
    if len(variants) == 1:
        return " ".join(lines.values())
    return " ".join(f"{', '.join(f'`{tag}`' for tag in tags)}: {lines[name]}" for name, tags in variants.items())


def _words(model: str, field: str, key: str) -> str:
    """Return what the models say of a field, in a comment above it or in the docstring, else what the recipes say."""
    owner = next(m for m in _models()[model].__mro__ if field in inspect.get_annotations(m))
    said = [*_comments(owner).get(field, []), *_sentences(_models()[model], field)]
    return " ".join(said) or _in_recipes().get(key.replace(f".{_ANY}", ""), "")


@cache
def _comments(model: type[Section]) -> dict[str, list[str]]:
    """Return {field: the lines of comment above it}."""
    source = inspect.getsource(model).splitlines()
    (node,) = ast.parse("\n".join(source)).body
    assert isinstance(node, ast.ClassDef)
    found: dict[str, list[str]] = {}
    for field in (part for part in node.body if isinstance(part, ast.AnnAssign)):
        above = source[: field.lineno - 1]
        first = next((i for i in range(len(above), 0, -1) if not above[i - 1].strip().startswith("#")), 0)
        assert isinstance(field.target, ast.Name)
        found[field.target.id] = [line.strip().removeprefix("# ") for line in above[first:]]
    return found


def _sentences(model: type[Section], field: str) -> list[str]:
    """Return the sentences of a docstring that name a field between backticks."""
    text = " ".join((inspect.getdoc(model) or "").split())
    return [sentence for sentence in re.split(r"(?<=[.:])\s+(?=[A-Z`])", text) if f"`{field}`" in sentence]


@cache
def _in_recipes() -> dict[str, str]:
    """Return {key: what stands behind it as a comment in the first recipe that has it}, the demo before all others."""
    found: dict[str, str] = {}
    for recipe in sorted((REPO / "recipes").glob("*.yaml"), key=lambda path: (path.stem != "demo", path.stem)):
        for key, comment in _commented(YAML().load(recipe.read_text(encoding="utf-8")), ""):
            found.setdefault(key, comment)
    return found


def _commented(section: CommentedMap, parent: str) -> Iterator[tuple[str, str]]:
    for name, value in section.items():
        key = f"{parent}.{name}".lstrip(".")
        tokens = section.ca.items.get(name, [None, None, None])
        comment = tokens[2].value.partition("\n")[0] if tokens[2] else ""
        yield key, "" if _CHOICES.fullmatch(comment) else comment.removeprefix("# ").strip()
        if isinstance(value, CommentedMap):
            yield from _commented(value, key)


# --- the document -------------------------------------------------------------------------------------------------


def render() -> str:
    """Return docs/params.md."""
    parts = [_HEAD]
    for section, group in groupby(settings(), key=lambda setting: setting.key.partition(".")[0]):
        parts.append(f"## `{section}`\n\n{_about(section)}")
        by_stages: defaultdict[str, list[Setting]] = defaultdict(list)
        for setting in group:
            by_stages[_runs(*stages_of(setting.key))].append(setting)
        parts += [f"{runs}\n\n{_table(rows)}" for runs, rows in by_stages.items()]
    return "\n".join(part.strip() + "\n" for part in parts)


def _about(section: str) -> str:
    model = _ref(_SCHEMA["properties"][section])
    return f"{inspect.getdoc(_models()[model])}\n\n" if model else ""


def _runs(declared: Sequence[str], then: Sequence[str]) -> str:
    if not declared:
        return "Runs nothing again:"
    after = f", then {', '.join(then)}" if then else ""
    return f"Runs again: **{', '.join(declared)}**{after}"


def _table(rows: Sequence[Setting]) -> str:
    lines = ["| setting | may be | what it says |", "|---|---|---|"]
    for row in rows:
        of_kind = f" ({', '.join(row.kinds)})" if row.kinds else ""
        lines.append(f"| `{row.key}`{of_kind} | {row.values} | {_escaped(row.words)} |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, but for what stands between backticks."""
    parts = text.replace("|", r"\|").split("`")
    return "`".join(re.sub(r"[<*]", r"\\\g<0>", part) if i % 2 == 0 else part for i, part in enumerate(parts))


if __name__ == "__main__":
    print(render(), end="")
