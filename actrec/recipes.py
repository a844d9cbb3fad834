"""Recipes: complete params files, of which one at a time is the active experiment."""

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from textwrap import wrap
from typing import Any

from actrec.compare.experiment import flat
from actrec.compare.table import setting_text
from actrec.console import say
from actrec.errors import UserError, did_you_mean
from actrec.models.at_hand import lacking_weights
from actrec.params.load import load, plain
from actrec.store.files import write_atomic

_WIDTH = 118


def describe_all(folder: Path, active: Path, *, numbered: bool = False) -> list[str]:
    """Return lines on each recipe: its name, * if params.yaml is of it, what it is for, and the data that it needs.

    Args:
        folder: Of the recipes.
        active: What is params.yaml.
        numbered: Each with the number by which `named` knows it.
    """
    files, current = _files(folder), _settings(active).get("recipe", "")
    width = max(len(path.stem) for path in files)
    numbers = [f"{number:>{len(str(len(files)))}} " if numbered else "" for number in range(1, len(files) + 1)]
    indent = " " * (len(numbers[0]) + width + 4)
    return [
        line
        for number, path in zip(numbers, files, strict=True)
        for first in [f"{'*' if path.stem == current else ' '} {number}{path.stem:{width}}  "]
        for line in [
            *wrap(head_comment(path), _WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False),
            *wrap(_data_of(_settings(path)), _WIDTH, initial_indent=indent, subsequent_indent=indent),
        ]
    ]


def named(answer: str, folder: Path) -> str:
    """Return the name that stands beside a number in the list of `describe_all`; another answer as it is.

    Raises:
        UserError: if the list has no such number.
    """
    names = [path.stem for path in _files(folder)]
    if answer in names or not answer.isdecimal():
        return answer
    if not 1 <= int(answer) <= len(names):
        raise UserError(f"there is no recipe number {answer}: expected 1 to {len(names)}, or a name")
    return names[int(answer) - 1]


def activate(name: str, folder: Path, active: Path) -> list[str]:
    """Copy a recipe to params.yaml and return what changed, a line a setting.

    An edited params.yaml is kept beside it as params.yaml.bak: its settings may be the work of hours.

    Raises:
        UserError: if there is no such recipe, or it is not valid.
    """
    names = {path.stem: path for path in _files(folder)}
    if name not in names:
        raise UserError(f"no recipe '{name}' in {folder}/. {did_you_mean(name, names)}")
    new = plain(load(names[name]))
    old, edited = _settings(active), active.read_bytes() if active.exists() else b""
    if edited and edited not in [path.read_bytes() for path in names.values()]:
        backup = active.with_name(active.name + ".bak")
        write_atomic(backup, edited)
        say(f"{active} was none of the recipes as they are; it is kept as {backup}")
    write_atomic(active, names[name].read_text(encoding="utf-8"))
    return list(_differences(old, flat(new)))


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.yaml"), key=lambda path: path.stem)
    if not found:
        raise UserError(f"{folder}/: no recipes here. Run this in the folder that holds dvc.yaml.")
    return found


def head_comment(path: Path) -> str:
    """Return the words before the first setting of a yaml file, without their signs."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines))


def _data_of(settings: dict[str, Any]) -> str:
    """Return what a recipe reads, and where it looks for that; of one that cannot be read, that."""
    if not {"demo.enabled", "data.root"} <= settings.keys():
        return "It cannot be read, or lacks settings: choose it by its name to see what is wrong."
    if settings["demo.enabled"]:
        return f"Data: {settings['data.root']}, which its stage demo draws."
    below = tuple(f"data.{name}" for name in ("reader.file", "reader.media", "reader.images", "reader.labels"))
    parts = [
        str(value)
        for name, value in settings.items()
        if name.startswith((*below, "data.skeletons.path")) and value is not None
    ]
    held = f", and in it {', '.join(dict.fromkeys(parts))}" if parts else ", a folder a class"
    return f"Data: {settings['data.root']} (data.root){held}."


def missing_data(active: Path) -> str:
    """Return a sentence on what the user has to bring first, "" if the data's folder is there, or is drawn."""
    settings = _settings(active)
    if settings["demo.enabled"] or Path(settings["data.root"]).is_dir():
        return ""
    return f"{_data_of(settings).removesuffix('.')}: that folder is not there yet. "


def missing_weights(active: Path) -> list[str]:
    """Return what `models.at_hand.lacking_weights` says of params.yaml."""
    backbones = load(active).model.backbones
    return lacking_weights(plain(backbones), backbones.published)


def _settings(path: Path) -> dict[str, Any]:
    """Return the settings that stand in params.yaml, valid or not; none if it cannot be read."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.exists():
        return {}
    try:
        return flat(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))
    except (YAMLError, UnicodeDecodeError):
        return {}


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    sections = list(dict.fromkeys(name.partition(".")[0] for name in [*new, *old]))
    for name in sorted({**new, **old}, key=lambda name: sections.index(name.partition(".")[0])):
        if name not in old:
            yield f"+ {name}: {setting_text(new, name)}"
        elif name not in new:
            yield f"- {name}: {setting_text(old, name)}"
        elif old[name] != new[name]:
            yield f"~ {name}: {setting_text(old, name)} -> {setting_text(new, name)}"
