"""Prints docs/params.md: what each setting may be, what it says, and what it runs again.

`python -m tools.params_table > docs/params.md`.

What may stand in params.yaml, and what it means, is said by the JSON schema of the models of actrec/params/; what runs
again, by dvc.yaml.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from actrec import paths
from actrec.params.schema import Params
from tools.deps import STAGES

REPO = Path(__file__).resolve().parents[1]
_SCHEMA = Params.model_json_schema()
_DEFINED = _SCHEMA["$defs"]
# Of keys that the user chooses, such as the names of heads.
_ANY = "<name>"
_BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "multipleOf": "multiple of",
}
_HEAD = """# What each setting may be, and what it runs again

Made by `python -m tools.params_table > docs/params.md`, from `actrec/params/` and `dvc.yaml`; a test holds it up to
date.

A change of a setting runs the stages again that name it in `dvc.yaml`; then those which read what these have written,
and only if that is no longer the same. Before them `check` looks at the whole file, at each edit. (`ingest` reads what
`demo` draws where `data.root` is `data/raw/demo`.) `<name>` stands for a name that you choose; (csv), (resnet/file) are
the kinds that have the setting.
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
    for setting in _settings_of(_SCHEMA, "", ()):
        same = (setting.key, setting.values, setting.words)
        found[same] = tuple(dict.fromkeys(found.get(same, ()) + setting.kinds))
    choices = {key.removesuffix(".kind"): values for key, values, _ in found if key.endswith(".kind")}
    return [
        Setting(key, () if _listed(kinds) == _choice_above(key, choices) else kinds, values, words)
        for (key, values, words), kinds in found.items()
    ]


def rows() -> dict[str, Setting]:
    """Return the settings by names of their own: the key and, where several have it, the first kind of each."""
    found = settings()
    count = Counter(setting.key for setting in found)
    return {f"{own.key} ({own.kinds[0]})" if count[own.key] > 1 else own.key: own for own in found}


def _choice_above(key: str, choices: Mapping[str, str]) -> str:
    """Return the kinds of the innermost section around a setting that is a choice by `kind`, "" if none is."""
    while key := key.rpartition(".")[0]:
        if key in choices:
            return choices[key]
    return ""


def stages_of(key: str) -> tuple[list[str], list[str]]:
    """Return the stages that a change of a setting runs again, and those that then may have other inputs."""
    pipeline = _pipeline()
    declared = [
        s for s in STAGES if any(key == own or key.startswith(f"{own}.") for own in pipeline[s].get("params", []))
    ]
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


def _settings_of(node: Mapping[str, Any], key: str, kinds: tuple[str, ...]) -> Iterator[Setting]:
    """Yield the settings below a node of the JSON schema, and before them that of the node itself."""
    variants = _variants(node)
    if variants:
        yield from _section_of(node, key, kinds, variants)
        for name, own in variants.items():
            own = () if len(variants) == 1 else own
            yield from _fields(name, key, tuple(f"{of}/{tag}" for of in kinds for tag in own) or own or kinds)
    elif "patternProperties" in node and any(_variants(part) for part in node["patternProperties"].values()):
        (part,) = node["patternProperties"].values()
        yield Setting(key, kinds, "{name: the settings below}", _words(node))
        yield from _settings_of(part, f"{key}.{_ANY}", kinds)
    elif "properties" in node:
        for name, part in node["properties"].items():
            yield from _settings_of(part, f"{key}.{name}".lstrip("."), kinds)
    else:
        yield Setting(key, kinds, _values(node), _words(node))


def _section_of(
    node: Mapping[str, Any], key: str, kinds: tuple[str, ...], variants: Mapping[str, tuple[str, ...]]
) -> Iterator[Setting]:
    """Yield what is said of a section itself, and of its `kind`; one at the top has a heading instead."""
    words, tags = _words(node), _tags(node)
    if plain := [choice for choice in node.get("anyOf", [node]) if not _variants(choice)]:
        other = "left out" if "default" in node else _values({"anyOf": plain})
        yield Setting(key, kinds, f"{other}, or the settings below", words)
        words = ""
    elif not tags and "." in key:
        yield Setting(key, kinds, "the settings below", words)
    if tags:
        yield Setting(f"{key}.kind", kinds, _listed(tags), _about_kinds(words, variants))


def _fields(model: str, key: str, kinds: tuple[str, ...]) -> Iterator[Setting]:
    for name, part in _DEFINED[model]["properties"].items():
        if name != "kind":
            yield from _settings_of(part, f"{key}.{name}", kinds)


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
        if (name := _ref(choice)) and (kind := _DEFINED[name]["properties"].get("kind")):
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


def _words(node: Mapping[str, Any]) -> str:
    """Return what a field's own description says, else that of the section that it is; "" if it is a choice of some."""
    described = {**_DEFINED[_ref(node)], **node} if _ref(node) else node
    return " ".join(described.get("description", "").split())


def _about_kinds(words: str, variants: Mapping[str, Sequence[str]]) -> str:
    """Return what a choice is about, and then each kind; of a section with kinds of its own, what it says of these.

    Args:
        words: On the choice; "" if they stand elsewhere.
        variants: {model: its kinds}.
    """
    if len(variants) == 1:
        (own,) = (_DEFINED[name] for name in variants)
        return words or _words(own["properties"]["kind"]) or _words(own)
    kinds = {name: ", ".join(f"`{tag}`" for tag in tags) for name, tags in variants.items()}
    lines = [f"{tags}: {_DEFINED[name]['description'].splitlines()[0]}" for name, tags in kinds.items()]
    return " ".join([words, *lines]).strip()


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
    node = _SCHEMA["properties"][section]
    return f"{_words(node)}\n\n" if _ref(node) else ""


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
