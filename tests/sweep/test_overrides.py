"""What -S is given, read by DVC itself."""

import random
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actrec.sweep.overrides import overrides

SGD = {"kind": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 0.0001}
TEXTS = [
    *("text", "it's", "a: b", "x,y", "'", "end\\", "end\\\\", "a\\'b", "", "null", "True", "1", "1e5", "nan", "a/b"),
    *("rgbpose_1:1", "(S\\d+)_(C)", "a b", " lead", "é", "#c", "[", "{a}", "=", "~x", "-", '"q"', 'a\\"b'),
]


def applied(path: Path, base: dict[str, Any], new: dict[str, Any]) -> Any:
    """Return what DVC makes of a params file."""
    from dvc.utils.hydra import apply_overrides

    YAML().dump(base, path)
    apply_overrides(str(path), list(overrides(base, new)))
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def test_what_is_the_same_is_not_set() -> None:
    assert list(overrides({"a": {"b": 1, "c": [1]}, "d": None}, {"a": {"b": 2, "c": [1]}, "d": None})) == ["a.b=2"]


def test_another_kind_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    """DVC merges a section that is set as a whole: adam would keep sgd's momentum."""
    base, adam = {"train": {"optimizer": SGD}}, {"train": {"optimizer": {"kind": "adam", "weight_decay": 0.0}}}
    assert list(overrides(base, adam)) == [
        "~train.optimizer.momentum",
        "~train.optimizer.nesterov",
        "train.optimizer.kind=adam",
        "train.optimizer.weight_decay=0.0",
    ]
    assert applied(tmp_path / "params.yaml", base, adam) == adam
    assert applied(tmp_path / "params.yaml", adam, base) == base


@pytest.mark.parametrize("seed", range(3))
def test_dvc_makes_exactly_the_settings_that_are_meant(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)

    def value(depth: int = 0) -> Any:
        kind = rng.random()
        if depth < 3 and kind < 0.3:
            return {rng.choice("abcde"): value(depth + 1) for _ in range(rng.randint(0, 3))}
        if kind < 0.4:
            return [value(3) for _ in range(rng.randint(0, 3))]
        return rng.choice([0, 1, -2, 0.1, 1e-5, 3e20, True, False, None, *TEXTS])

    for _ in range(60):
        base = {key: value() for key in "abcd"}
        new = {key: value() if rng.random() < 0.5 else base.get(key, value()) for key in "abce"}
        assert applied(tmp_path / "params.yaml", base, new) == new
