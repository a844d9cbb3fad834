"""What params.yaml may say, and what is said of one that is wrong."""

import json
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from actrec.errors import UserError
from actrec.params.load import load, plain
from actrec.params.schema import Params

REPO = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPO / "recipes").glob("*.yaml"))
yaml = YAML(typ="safe", pure=True)
DEMO = yaml.load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, (*path, key))
    else:
        yield path


def changed(path: str, value: Any, *, rename: str = "") -> dict[str, Any]:
    """Return the demo with one setting changed, or (`rename`) under another name."""
    params = deepcopy(DEMO)
    *parents, last = path.split(".")
    section = params
    for name in parents:
        section = section[name]
    if rename:
        section[rename] = section.pop(last)
    else:
        section[last] = value
    return params


@pytest.fixture
def errors_of(tmp_path):
    """Return a function that loads a params file with this content and returns the lines of the error."""

    def errors(params: dict[str, Any] | str) -> list[str]:
        path = tmp_path / "p.yaml"
        if isinstance(params, str):
            path.write_text(params, encoding="utf-8")
        else:
            with path.open("w", encoding="utf-8") as file:
                yaml.dump(params, file)
        with pytest.raises(UserError) as caught:
            load(path)
        lines = str(caught.value).splitlines()
        assert all(line.startswith(f"{path}: ") for line in lines)
        return [line.removeprefix(f"{path}: ") for line in lines]

    return errors


def same(one: Any, two: Any) -> bool:
    """Compare as the parser sees it: 1 and 1.0 are the same number here, 1 and true are not."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two and isinstance(one, bool) == isinstance(two, bool)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_everything_and_is_taken_as_it_stands(path):
    params = load(path)
    assert same(plain(params), yaml.load(path.read_text(encoding="utf-8")))
    assert params.recipe == path.stem


@pytest.mark.parametrize("path", list(leaves(DEMO)), ids=".".join)
def test_no_setting_has_a_default(path):
    params = deepcopy(DEMO)
    section = params
    for name in path[:-1]:
        section = section[name]
    del section[path[-1]]
    with pytest.raises(ValidationError) as caught:
        Params.model_validate(params)
    types = {problem["type"] for problem in caught.value.errors()}
    assert types <= {"missing", "union_tag_not_found", "too_short"}  # of a tag; of a dict that may not be empty


@pytest.mark.parametrize(
    ("path", "wrong", "suggested"),
    [
        ("train", "trian", "train"),
        ("train.lr", "learning_r", None),
        ("train.batch_size", "batchsize", "train.batch_size"),
        ("data.split.train_frac", "train_fraction", "data.split.train_frac"),
        ("data.reader.group", "groups", "data.reader.group"),
        ("model.backbones.rgb.input_px", "input_pixels", "model.backbones.rgb.input_px"),
        ("model.backbones.rgb.weights.kind", "knd", None),
        ("model.heads.action.dropout", "drop_out", "model.heads.action.dropout"),
        ("train.optimizer.weight_decay", "weight_deacy", "train.optimizer.weight_decay"),
        ("frames.sampling.kind", "type", None),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(errors_of, path, wrong, suggested):
    lines = errors_of(changed(path, None, rename=wrong))
    if suggested:
        written = ".".join([*path.split(".")[:-1], wrong])
        assert lines == [f"{written} is not a setting. Did you mean {suggested}?"]
    else:
        assert any(line.startswith(f"{path} is missing") for line in lines)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("train.optimizer.momentum", 0.9, "train.optimizer.momentum is not a setting. Known: kind, weight_decay."),
        ("model.backbones.rgb.weights.pfad", "x", "model.backbones.rgb.weights.pfad is not a setting. Known: kind."),
        ("model.heads.action.hidden", 64, "model.heads.action.hidden is not a setting. Known: dropout, kind, "),
        ("train.lr", "abc", "train.lr is 'abc': input should be a valid number"),
        ("train.lr", True, "train.lr is true: input should be a valid number"),
        ("train.lr", None, "train.lr is null: input should be a valid number"),
        ("train.lr", 0, "train.lr is 0: input should be greater than 0"),
        ("train.lr", float("inf"), "train.lr is inf: input should be a finite number"),
        ("data.max_bad_frac", float("nan"), "data.max_bad_frac is nan: "),
        ("train.epochs", 2.5, "train.epochs is 2.5: input should be a valid integer"),
        ("train.epochs", "3", "train.epochs is '3': input should be a valid integer"),
        ("train.epochs", True, "train.epochs is true: input should be a valid integer"),
        ("frames.enabled", "yes", "frames.enabled is 'yes': input should be a valid boolean"),
        ("recipe", 3, "recipe is 3: input should be a valid string"),
        ("data.name", "a/b", "data.name is 'a/b': string should match pattern"),
        ("data.reader.group", 5, "data.reader.group is 5: input should be a valid string"),
        ("data.reader.file", "/shared/clips.csv", "data.reader.file: '/shared/clips.csv' leads out of data.root, and "),
        ("data.reader.file", "a/../../b.csv", "data.reader.file: 'a/../../b.csv' leads out of data.root, and "),
        ("data.reader.file", "C:\\\\clips.csv", "data.reader.file: 'C:\\\\clips.csv' leads out of data.root, and "),
        ("evaluate.splits", ["val", "tset"], "evaluate.splits[1] is 'tset': input should be 'train', 'val' or 'test'"),
        (
            "data.split",
            {"train_frac": 0.8, "val_frac": 0.2, "test_frac": 0.0, "seed": 0},
            "data.split.test_frac is 0, so there will be no test split: set evaluate.splits: [val]",
        ),
        ("evaluate.splits", [], "evaluate.splits is []: list should have at least 1 item"),
        ("train.optimizer.kind", "adm", "train.optimizer.kind is 'adm'. Did you mean adam? Known: sgd, adam, adamw."),
        ("model.heads.action.kind", 1, "model.heads.action.kind is '1'. Known: linear, mlp"),
        ("train.optimizer", {"weight_decay": 0}, "train.optimizer.kind is missing"),
        ("train.optimizer", "adam", "train.optimizer is 'adam': "),
        ("train", "fast", "train is 'fast': "),
        ("model.backbones.rgb.weights", {"kind": "torchvision", "name": "X"}, "model.backbones.rgb.weights.kind is "),
    ],
)
def test_a_wrong_value_is_named_with_its_place(errors_of, path, value, expected):
    (line,) = errors_of(changed(path, value))
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("train.select_on", "species.top1", "train.select_on names the head 'species'; the model has action"),
        (
            "train.select_on",
            "action.accuracy",
            "train.select_on: expected <head>.<metric>, got 'action.accuracy'; the metrics are top1, top5, ",
        ),
        (
            "data.reader.heads",
            {"other": "action"},
            "model.heads has ['action'] that data does not label; it labels ['other']",
        ),
        ("frames.enabled", False, "model.backbones.rgb needs frames.enabled: true"),
        ("features.enabled", True, "features.enabled caches frozen backbones"),
        ("data.split.train_frac", 0.7, "data.split: train_frac + val_frac + test_frac must be 1, got 1.1"),
    ],
)
def test_sections_that_contradict_each_other_are_refused(errors_of, path, value, expected):
    (line,) = errors_of(changed(path, value))
    assert line.startswith(expected)


def test_a_frozen_backbone_does_not_thaw(errors_of):
    params = changed("model.backbones.rgb.frozen", True)
    params["train"]["freeze"]["epochs"] = 1
    assert errors_of(params)[0].startswith("train.freeze.epochs is for backbones that thaw")


def test_every_error_is_listed_unknown_keys_first(errors_of):
    params = changed("demo.takes", None, rename="take")
    params["train"]["lr"], params["seed"], params["evaluate"]["bootstrap"] = "abc", -1, 10
    starts = [line.split(" is ")[0] for line in errors_of(params)]
    assert sorted(starts[:2]) == ["demo.take", "evaluate.bootstrap"]
    assert sorted(starts[2:]) == ["seed", "train.lr"]


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-3", ".001"])
def test_numbers_as_people_type_them(tmp_path, text):
    demo = (REPO / "recipes/demo.yaml").read_text(encoding="utf-8")
    old = f"  lr: {DEMO['train']['lr']}\n"
    assert demo.count(old) == 1
    (tmp_path / "p.yaml").write_text(demo.replace(old, f"  lr: {text}\n"), encoding="utf-8")
    assert load(tmp_path / "p.yaml").train.lr == 0.001


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected sections such as data: and train:, got NoneType"),
        ("- 1\n", "expected sections such as data: and train:, got list"),
        ("train: {lr: 1\n", "not valid YAML: "),
        ("seed: 1\nseed: 2\n", "not valid YAML: "),
        ("seed: !!python/object/apply:os.system [ls]\n", "not valid YAML: "),
    ],
)
def test_what_is_no_params_file_at_all(errors_of, text, expected):
    assert errors_of(text)[0].startswith(expected)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such file\. .*python -m actrec recipe demo"):
        load(tmp_path / "nowhere.yaml")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "p.yaml").write_bytes("é".encode("utf-16"))
    with pytest.raises(UserError, match="not valid YAML"):
        load(tmp_path / "p.yaml")


def test_plain_leaves_keys_out():
    train = load(REPO / "recipes/demo.yaml").train
    assert plain(train, without=["augment", "lr"]) == {
        k: v for k, v in DEMO["train"].items() if k not in ("augment", "lr")
    }


def test_the_schema_for_editors_is_up_to_date():
    written = json.loads((REPO / "recipes/schema.json").read_text(encoding="utf-8"))
    assert written == Params.model_json_schema(), "run: python -m actrec schema > recipes/schema.json"


RUNNER = """
import runpy, sys
from pathlib import Path
module, params = sys.argv[1:]
sys.argv = [module, "--params", params]
try:
    runpy.run_module(module, run_name="__main__")
except SystemExit as end:
    heavy = {"torch", "sklearn", "av", "decord", "h5py", "matplotlib"} & set(sys.modules)
    print(end.code, sorted(heavy))
"""


@pytest.mark.parametrize("stage", ["demo", "train"])
def test_a_stage_refuses_a_typo_anywhere_before_it_loads_anything(tmp_path, stage):
    with (tmp_path / "params.yaml").open("w") as file:
        yaml.dump(changed("train.lr", "abc"), file)
    command = [sys.executable, "-c", RUNNER, f"pipeline.{stage}", str(tmp_path / "params.yaml")]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"
    assert done.stderr == f"error: {tmp_path}/params.yaml: train.lr is 'abc': input should be a valid number.\n"
