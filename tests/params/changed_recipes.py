"""Recipes with some settings changed, as params.yaml may say them."""

from pathlib import Path

from ruamel.yaml import YAML

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def with_changes(recipe, changes):
    """Return a recipe as a dict, with settings changed by their dotted names."""
    raw = YAML(typ="safe", pure=True).load(RECIPES / f"{recipe}.yaml")
    for name, value in changes.items():
        *path, last = name.split(".")
        section = raw
        for part in path:
            section = section[part]
        section[last] = value
    return raw
