"""Settings as `dvc exp run -S` takes them, in Hydra's grammar of overrides."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# Text that would be read as another kind of value.
_WORDS = ("null", "true", "false", "nan", "inf")


def overrides(base: Mapping[str, Any], params: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield what `dvc exp run -S` takes to make one set of settings of another: key=value, +key=value, ~key.

    A whole section as a value would be merged by DVC into the one that is there: of {kind: sgd, momentum: 0.9} and
    {kind: adam} it would make an adam with a momentum. So sections are compared setting by setting.
    """
    for key in base:
        if key not in params:
            yield from _without(f"{above}{key}", base[key])
    for key, value in params.items():
        if key not in base:
            yield f"+{above}{key}={_hydra(value)}"
        elif isinstance(value, Mapping) and isinstance(base[key], Mapping):
            yield from overrides(base[key], value, f"{above}{key}.")
        elif {type(value), type(base[key])} == {dict, list}:
            yield from (*_without(f"{above}{key}", base[key]), f"+{above}{key}={_hydra(value)}")
        elif json.dumps(value) != json.dumps(base[key]):
            yield f"{above}{key}={_hydra(value)}"


def _without(name: str, value: Any) -> list[str]:
    # Hydra takes a setting that is null for one that is not there.
    return [f"~{name}"] if value is not None else [f"{name}=0", f"~{name}"]


def _hydra(value: Any) -> str:
    """Return a value in Hydra's grammar of overrides, in which DVC reads it."""
    match value:
        case dict():
            return f"{{{','.join(f'{key}:{_hydra(part)}' for key, part in value.items())}}}"
        case list():
            return f"[{','.join(map(_hydra, value))}]"
        case str() if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_/-]*", value) or value.lower() in _WORDS:
            # A backslash stands for itself but before a quote; the last character stands before one.
            text = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + (found[2] and "\\'"), value)
            return f"'{text}'"
        case str():
            return value
        case _:
            return json.dumps(value)
