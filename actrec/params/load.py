"""Reads params.yaml with the parser that DVC uses, so that both see the same values (PyYAML reads 1e-3 as text)."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from actrec.errors import UserError, did_you_mean, nearest
from actrec.params.schema import Params

_MISSING = " is missing; recipes/demo.yaml shows every setting."


def load(path: Path | str) -> Params:
    """Return the checked experiment.

    Args:
        path: A complete params file.

    Raises:
        UserError: listing everything that is wrong with it, with the nearest known key for an unknown one.
    """
    path = Path(path)
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Write one: python -m actrec recipe demo") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return checked(raw, str(path))


def checked(raw: Any, name: str) -> Params:
    """Return the experiment that a plain dict describes.

    Args:
        raw: What stands in a complete params file.
        name: What it is called in messages.

    Raises:
        UserError: as `load`.
    """
    if not isinstance(raw, dict):
        raise UserError(f"{name}: expected sections such as data: and train:, got {type(raw).__name__}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        # An unknown key is usually what a missing one was meant to be: it comes first.
        found = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        told: list[str] = []
        for problem in found:
            text = _describe(problem, raw)
            # Nor is that one told a second time, as missing.
            if not any(f"Did you mean {text.removesuffix(_MISSING)}?" in other for other in told):
                told.append(text)
        raise UserError("\n".join(f"{name}: {text}" for text in told)) from None


def _describe(problem: ErrorDetails, raw: dict[str, Any]) -> str:
    where = _written_path(problem["loc"], raw, lacks_last=problem["type"] == "missing")
    got = problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            *section, key = problem["loc"]
            hint = did_you_mean(str(key), _known_keys(section), within="".join(where.rpartition(".")[:2]))
            return f"{where} is not a setting. {hint}"
        case "missing":
            return f"{where}{_MISSING}"
        case "union_tag_invalid":
            context = problem.get("ctx", {})
            known = context["expected_tags"].replace("'", "").split(", ")
            near = nearest(str(context["tag"]), known)
            hint = f"Did you mean {near}? " if near else ""
            return f"{where}.kind is {context['tag']!r}. {hint}Known: {', '.join(known)}."
        case "union_tag_not_found":
            return f"{where}.kind is missing; recipes/demo.yaml shows every setting."
        case "value_error":
            return f"{f'{where}: ' if where else ''}{problem['msg'].removeprefix('Value error, ')}"
        case _:
            return f"{where} is {_as_written(got)}: {problem['msg'][0].lower()}{problem['msg'][1:]}."


def _as_written(value: Any) -> str:
    """Return a value as yaml has it where Python writes another word."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def _written_path(loc: tuple[int | str, ...], raw: Any, *, lacks_last: bool) -> str:
    """Return the dotted path as the file has it, or would have it if it lacked no key: pydantic adds tags of unions."""
    parts = []
    for i, part in enumerate(loc):
        is_missing = lacks_last and i == len(loc) - 1
        if isinstance(raw, dict) and (part in raw or is_missing):
            parts.append(str(part))
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int):
            parts[-1] += f"[{part}]"
            raw = raw[part]
    return ".".join(parts)


def _known_keys(loc: Sequence[int | str]) -> list[str]:
    """Return the keys that the section at `loc` (pydantic's path, with union tags) may have."""
    schema = Params.model_json_schema()
    definitions = schema["$defs"]
    node: dict[str, Any] = schema
    for part in loc:
        node = _child(node, part, definitions)
    return sorted(node.get("properties", {}))


def _child(node: dict[str, Any], part: int | str, definitions: dict[str, Any]) -> dict[str, Any]:
    if mapping := node.get("discriminator", {}).get("mapping"):
        node = {"$ref": mapping[part]}
    elif "properties" in node:
        node = node["properties"][part]
    elif "patternProperties" in node:
        (node,) = node["patternProperties"].values()
    if "anyOf" in node:  # a section or nothing, or a section or a plain value
        node = next((choice for choice in node["anyOf"] if "type" not in choice), {})
    return definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def plain(section: BaseModel, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return a section as the plain dict that stands in the file, but for the keys in `without`."""
    return section.model_dump(mode="json", exclude=set(without))
