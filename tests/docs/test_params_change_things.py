"""Each setting, changed to another value that is allowed, makes DVC run those stages again that docs/params.md names.

DVC itself is asked, what `dvc status` asks of each stage: whether its params are still those of its last run. And each
setting is set somewhere in the tests. A setting is a row of the table: what two kinds have under one name are two.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from dvc.dependency import param
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from pydantic import ValidationError
from ruamel.yaml import YAML

from actrec.params.schema import Params
from tools.deps import STAGES
from tools.params_table import Setting, rows, stages_of

REPO = Path(__file__).resolve().parents[2]
ROWS = rows()
_NUM_ROWS = Counter(row.key for row in ROWS.values())
# There is nothing that they could be changed to; of each a recipe that has it.
SINGLE = {
    "model.backbones.audio.kind": "wildlife-demo",
    "model.backbones.geometry.kind": "relation-demo",
    "model.backbones.geometry.weights.kind": "relation-demo",
    "model.backbones.geometry.frozen": "relation-demo",
    "model.backbones.rgb.weights.kind (hog)": "images-hog",
    "model.backbones.rgb.frozen (hog)": "images-hog",
}
FILE = {"kind": "file", "path": "a.pt", "sha256": "0" * 64}
SKELETONS = {"kind": "npz", "path": "skeletons.npz", "layout": "coco17"}
OF_SKELETONS = {"kind": "skeletons", "head": "action", "splits": None, "class_names": None, "group_regex": None}
TINY_IMAGENET = {"kind": "tiny_imagenet", "head": "class", "held_out": "val", "names": "wnid"}
HEAD = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}
MLP = {"kind": "mlp", "hidden": 8, "dropout": 0.1, "loss_weight": 1.0}
STREAM = {"weights": {"kind": "none"}, "frozen": False, "input_frames": 8, "input_px": 32, "token_grid": None}
X3D = {**STREAM, "kind": "x3d", "shortcut_norm": True, "crop_frac": 1.0}
X_SHIFT = {**STREAM, "kind": "x_shift", "blocks": [1, 1, 1], "widths": [8, 8, 16]}
X_SHIFT |= {"heatmaps": {"of": "both", "sigma_px": 0.6}}
FOLDER = {"kind": "folder", "path": "a", "sha256": "0" * 64}
CONSTANT = {"kind": "none", "warmup_epochs": 1, "warmup_from_frac": 0.0}
PLATEAU = {**CONSTANT, "kind": "plateau", "patience_epochs": 1, "factor": 0.5}
RANDAUGMENT = {"ops": 2, "magnitude": 9}
# Recipe, what is set at first, and what is then changed: of rows that no recipe lets change by themselves.
BY_HAND: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "data.reader.kind": ("images", {}, {"data.reader": TINY_IMAGENET}),
    "data.reader.names": ("images", {"data.reader": TINY_IMAGENET}, {"data.reader.names": "words"}),
    "data.reader.multi_label": (
        "demo",
        {"train.select_on": "action.map_macro"},
        {"data.reader.multi_label": {"action": ";"}},
    ),
    "data.reader.head": (
        "images",
        {},
        {"data.reader.head": "other", "model.heads": {"other": HEAD}, "train.select_on": "other.top1"},
    ),
    "data.reader.missing.file": (
        "ntu60-rgbpose",
        {"data.reader.missing": {"kind": "list", "file": "a.txt"}},
        {"data.reader.missing.file": "b.txt"},
    ),
    "data.reader.held_out (tiny_imagenet)": (
        "images",
        {"data.reader": TINY_IMAGENET},
        {"data.reader.held_out": "test"},
    ),
    "data.reader.splits (skeletons)": (
        "pose-only",
        {"data.reader": OF_SKELETONS, "data.skeletons": {**SKELETONS, "kind": "pyskl"}},
        {"data.reader.splits": {"train": "xsub_train", "val": "xsub_val", "test": "xsub_test"}},
    ),
    "data.coarse.of": (
        "rgbpose-demo",
        {"data.reader.heads": {"act": "act", "species": "species"}},
        {"data.coarse.of": "species"},
    ),
    "data.coarse.head": ("rgbpose-demo", {"model.heads": {"act": HEAD}}, {"data.coarse.head": "other"}),
    "data.split.train_frac": ("demo", {}, {"data.split.train_frac": 0.7, "data.split.val_frac": 0.1}),
    "data.split.val_frac": ("demo", {}, {"data.split.val_frac": 0.1, "data.split.test_frac": 0.3}),
    "data.split.test_frac": ("demo", {}, {"data.split.test_frac": 0.1, "data.split.train_frac": 0.7}),
    "frames.sampling.kind": ("demo", {}, {"frames.sampling": {"kind": "stride", "frame_stride": 2}}),
    "frames.sampling.frame_stride": (
        "demo",
        {"frames.sampling": {"kind": "stride", "frame_stride": 2}},
        {"frames.sampling.frame_stride": 3},
    ),
    "frames.region": ("demo", {"data.skeletons": SKELETONS, "skeletons.enabled": True}, {"frames.region": "persons"}),
    "skeletons.enabled": ("demo", {"data.skeletons": SKELETONS}, {"skeletons.enabled": True}),
    "model.backbones.rgb.weights.kind (mc3_18)": ("folder", {}, {"model.backbones.rgb.weights": {"kind": "none"}}),
    "model.backbones.rgb.weights.kind (slow_only)": ("demo", {}, {"model.backbones.rgb.weights": FILE}),
    "model.backbones.rgb.weights.kind (videomae)": ("wildlife", {}, {"model.backbones.rgb.weights": FOLDER}),
    "model.backbones.rgb.weights.path (mc3_18/file)": (
        "demo",
        {"model.backbones.rgb.weights": FILE},
        {"model.backbones.rgb.weights.path": "b.pt"},
    ),
    "model.backbones.rgb.weights.path (videomae/folder)": (
        "wildlife",
        {"model.backbones.rgb.weights": FOLDER},
        {"model.backbones.rgb.weights.path": "b"},
    ),
    "model.backbones.rgb.weights.sha256": (
        "demo",
        {"model.backbones.rgb.weights": FILE},
        {"model.backbones.rgb.weights.sha256": "1" * 64},
    ),
    "model.backbones.rgb.weights.name": ("cars", {}, {"model.backbones.rgb.weights.name": "IMAGENET1K_V2"}),
    "model.backbones.audio.weights.name": ("sound", {}, {"model.backbones.audio.weights.name": "DEFAULT"}),
    "model.backbones.rgb.weights.revision": ("wildlife", {}, {"model.backbones.rgb.weights.revision": "1" * 40}),
    "model.backbones.rgb.shortcut_norm": (
        "demo",
        {"model.backbones.rgb": X3D},
        {"model.backbones.rgb.shortcut_norm": False},
    ),
    "model.backbones.pose.kind": ("pose-only", {}, {"model.backbones.pose": X_SHIFT}),
    "model.neck.pcan.fine": ("ma52-rgbpose", {}, {"model.neck.pcan.fine": "body"}),
    "model.neck.pcan.coarse": ("ma52-rgbpose", {}, {"model.neck.pcan.coarse": "action"}),
    "model.neck.fusion_layer": ("wildlife-demo", {"model.neck.layers": 3}, {"model.neck.fusion_layer": 1}),
    "model.heads.<name>.kind": ("demo", {}, {"model.heads.action": MLP}),
    "train.schedule.kind": ("demo", {}, {"train.schedule": CONSTANT}),
    "train.schedule.patience_epochs": (
        "demo",
        {"train.schedule": PLATEAU},
        {"train.schedule.patience_epochs": 2},
    ),
    "train.select_on": ("demo", {}, {"train.select_on": "action.loss"}),
    "evaluate.submission.fine": ("ma52-rgbpose", {}, {"evaluate.submission.fine": "body"}),
    "evaluate.submission.coarse": ("ma52-rgbpose", {}, {"evaluate.submission.coarse": "action"}),
    "evaluate.submission.output": ("ma52-rgbpose", {}, {"evaluate.submission.output": "rgb"}),
}
for _section in ("train", "features"):
    _key = f"{_section}.augment.rgb.randaugment"
    BY_HAND[_key] = ("demo", {}, {_key: RANDAUGMENT})
    BY_HAND[f"{_key}.ops"] = ("demo", {_key: RANDAUGMENT}, {f"{_key}.ops": 3})
    BY_HAND[f"{_key}.magnitude"] = ("demo", {_key: RANDAUGMENT}, {f"{_key}.magnitude": 10})
for _recipe, _key in {
    "wildlife-demo": "model.backbones.audio.weights",
    "pose-only": "model.backbones.pose.weights",
    "rgbpose-demo": "model.neck.laterals.weights",
}.items():
    BY_HAND[f"{_key}.kind"] = (_recipe, {}, {_key: FILE})
    BY_HAND[f"{_key}.path"] = (_recipe, {_key: FILE}, {f"{_key}.path": "b.pt"})
    BY_HAND[f"{_key}.sha256"] = (_recipe, {_key: FILE}, {f"{_key}.sha256": "1" * 64})


# --- values ---------------------------------------------------------------------------------------------------------


@cache
def recipes() -> dict[str, dict[str, Any]]:
    """Return all recipes, the demo first."""
    yaml = YAML(typ="safe", pure=True)
    files = sorted((REPO / "recipes").glob("*.yaml"), key=lambda path: (path.stem != "demo", path.stem))
    return {path.stem: yaml.load(path.read_text(encoding="utf-8")) for path in files}


def places(section: Any, parts: list[str], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where a key is in a params file; `<name>` may be any."""
    if not parts:
        yield above
    elif isinstance(section, dict):
        for name in list(section) if parts[0] == "<name>" else {parts[0]} & section.keys():
            yield from places(section[name], parts[1:], (*above, name))


def holder(params: Any, place: tuple[str, ...]) -> Any:
    """Return what stands at a place."""
    for name in place:
        params = params[name]
    return params


def is_of(row: Setting, params: Mapping[str, Any], place: tuple[str, ...]) -> bool:
    """Tell whether a place of the row's key has the row's kinds: those of the sections around it, from the top on."""
    around = [place[:count] for count in range(1, len(place) - (place[-1] == "kind"))]
    found = [section["kind"] for above in around if isinstance((section := holder(params, above)).get("kind"), str)]
    # A section with one kind alone is named in no row.
    return not row.kinds or any(found[-len(kinds) :] == kinds for kinds in (each.split("/") for each in row.kinds))


def places_of(row: Setting, params: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return where a row of the table is in a params file."""
    return [place for place in places(params, row.key.split(".")) if is_of(row, params, place)]


def others(value: Any, listed: list[str]) -> Iterator[Any]:
    """Yield values that may be allowed as well."""
    match value:
        case bool():
            yield not value
        case dict():
            for name, part in value.items():
                yield from ({**value, name: other} for other in others(part, []))
        case int():
            yield from (value + 1, value * 2, value - 1, value + 2, value // 2)
        case float():
            yield from (value / 2, value + 0.1, value + 1)
        case list():
            yield from (value[::-1], value + value[-1:], value[:-1])
            yield from ([other, *value[1:]] for other in others(value[0], []))
        case str() if not listed:
            yield value + "x"
        case None:
            yield from ("x", [1, 1])
    yield from (int(name) if name.isdigit() else name for name in listed)
    if value is not None:
        yield None


def is_allowed(params: Mapping[str, Any]) -> bool:
    try:
        Params.model_validate(params)
    except ValidationError:
        return False
    return True


def with_changes(params: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params with other values for some dotted keys."""
    changed = deepcopy(dict(params))
    for key, value in changes.items():
        *above, last = key.split(".")
        section = changed
        for name in above:
            section = section[name]
        section[last] = deepcopy(value)
    return changed


def change_of(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return params, and changes of them by dotted keys: of this row and, where it must be, of others."""
    row = ROWS[name]
    if name in BY_HAND:
        recipe, first, changes = BY_HAND[name]
        return with_changes(recipes()[recipe], first), changes
    listed = [word for word in re.findall(r"`([^`]+)`", row.values) if word not in ("true", "false", "null")]
    for params in recipes().values():
        for place in places_of(row, params):
            value = holder(params, place)
            for other in others(value, listed):
                changes = {".".join(place): other}
                is_other = type(other) is not type(value) or other != value
                if is_other and is_allowed(with_changes(params, changes)):
                    return params, changes
    pytest.fail(f"{name}: no recipe has it, or allows another value: say one in BY_HAND")


def touches(changes: Mapping[str, Any], place: tuple[str, ...]) -> bool:
    """Tell whether a place is changed, by itself or with a section that it is in."""
    return any(".".join(place[:count]) in changes for count in range(1, len(place) + 1))


# --- what DVC says ----------------------------------------------------------------------------------------------------


class Pipeline:
    """The stages of dvc.yaml, and the params file as DVC would read it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        for name in ("dvc.yaml", "params.yaml"):
            (folder / name).write_bytes((REPO / name).read_bytes())
        self._params: Mapping[str, Any] = {}
        # To write and parse 120 lines of YAML for each stage and setting would take minutes.
        patch.setattr(param, "load_path", lambda path, fs: self._params)
        stages: Any = Repo.init(str(folder), no_scm=True).index.stages
        self._params_of = {
            stage.name: [dep for dep in stage.deps if isinstance(dep, ParamsDependency)] for stage in stages
        }

    def dirtied_by(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
        """Return the stages that ran with `before` and would run again with `after`."""
        self._params = before
        for deps in self._params_of.values():
            for dep in deps:
                dep.save()
        self._params = after
        return [stage for stage in STAGES if any(dep.status() for dep in self._params_of[stage])]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pytest.MonkeyPatch.context() as patch:
        yield Pipeline(tmp_path_factory.mktemp("pipeline"), patch)


def test_every_stage_has_params(pipeline: Pipeline) -> None:
    counts = {stage: len(deps) for stage, deps in pipeline._params_of.items()}
    assert counts == {
        **dict.fromkeys(STAGES, 1),
        "check": 0,
    }  # it depends on the file itself, names that are wrong included
    demo = recipes()["demo"]
    assert pipeline.dirtied_by(demo, demo) == []


@pytest.mark.parametrize("name", [name for name in ROWS if name not in SINGLE])
def test_a_change_dirties_the_stages_of_the_table(pipeline: Pipeline, name: str) -> None:
    params, changes = change_of(name)
    changed = with_changes(params, changes)
    assert changed != params and is_allowed(params) and is_allowed(changed), changes
    assert any(touches(changes, place) for place in places_of(ROWS[name], params)), changes
    expected = {stage for key in changes for stage in stages_of(key)[0]}
    assert set(pipeline.dirtied_by(params, changed)) == expected


@pytest.mark.parametrize("name", SINGLE)
def test_what_has_one_value_is_refused_with_another(name: str) -> None:
    params = recipes()[SINGLE[name]]
    (place,) = places_of(ROWS[name], params)
    other = False if holder(params, place) is True else "other"
    assert is_allowed(params) and not is_allowed(with_changes(params, {".".join(place): other}))


def test_what_is_changed_by_hand_is_there() -> None:
    assert BY_HAND.keys() | SINGLE.keys() <= ROWS.keys()


def test_every_row_of_the_table_is_there() -> None:
    table = (REPO / "docs/params.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)`(?: \(([^)]+)\))? \|", table, re.MULTILINE)
    assert sorted(rows) == sorted((row.key, ", ".join(row.kinds)) for row in ROWS.values())


def test_a_row_is_found_where_its_kinds_are() -> None:
    """What two kinds have under one name are two settings; of a section in a section both kinds count."""
    widths = [ROWS[f"model.backbones.rgb.width ({kind})"] for kind in ("slow_only", "small3d")]
    demo, path = recipes()["demo"], ROWS["model.backbones.rgb.weights.path (mc3_18/file)"]
    assert [len(places_of(row, demo)) for row in (*widths, path)] == [0, 1, 0]
    from_file = with_changes(demo, {"model.backbones.rgb.weights": FILE})
    assert places_of(path, from_file) == [("model", "backbones", "rgb", "weights", "path")]
    assert places_of(ROWS["model.backbones.rgb.weights.path (videomae/folder)"], from_file) == []


# --- what the tests set -----------------------------------------------------------------------------------------------


def names_set_in(source: str) -> Iterator[str]:
    """Yield the keys of dicts, the keywords of calls, the subscripts and the dotted texts of a test's source."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Dict(keys=keys):
                yield from (key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
            case ast.keyword(arg=str(name)) | ast.Subscript(slice=ast.Constant(value=str(name))):
                yield name
            case ast.Constant(value=str(text)):
                yield from (name.rpartition(".")[2] for name in re.findall(r"[\w<>]+(?:\.\w+)+", text))
                yield from re.findall(r"(\w+):", text)


def set_beside(source: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of what stands beside a `kind` in the dicts, the calls and the YAML of a test's source."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                beside = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
            case ast.Call(keywords=keywords):
                beside = {keyword.arg: keyword.value for keyword in keywords}
            case ast.Constant(value=str(text)):
                for section in re.findall(r"\{[^{}]*\}", text):
                    yield from product(re.findall(r"\bkind: (\w+)", section), re.findall(r"(\w+):", section))
                continue
            case _:
                continue
        match beside.get("kind"):
            case ast.Constant(value=str(kind)):
                yield from ((kind, name) for name in beside if isinstance(name, str))


def test_each_setting_is_set_in_some_test_besides_this_one() -> None:
    """By its own name, and beside its kind where the table has more rows of its key; else the section is not seen."""
    own = (Path(__file__).name, "killed_stages.py")
    sources = [path.read_text(encoding="utf-8") for path in (REPO / "tests").rglob("*.py") if path.name not in own]
    found = {name for source in sources for name in names_set_in(source)}
    pairs = {pair for source in sources for pair in set_beside(source)}
    for name, row in ROWS.items():
        last = row.key.rpartition(".")[2]
        kinds = {kind.rpartition("/")[2] for kind in row.kinds}
        assert last in found, name
        assert _NUM_ROWS[row.key] == 1 or pairs & set(product(kinds, [last])), name


def test_names_are_found_where_they_are_set() -> None:
    source = 'f(lr=1, x={"epochs": 2}); p["train"]["seed"] = 3; g("-S train.batch_size=4", "a.b.n_mels", "views: 5")'
    assert {"lr", "epochs", "train", "seed", "batch_size", "n_mels", "views"} <= set(names_set_in(source))
    assert "g" not in set(names_set_in(source))
    beside = 'f(kind="a", b=1); g({**x, "kind": "c", "d": 2, "e": {"h": 3}}); h("{kind: i, j: 4} k: 5")'
    assert set(set_beside(beside)) == {(a, b) for a, b in ("ab", "cd", "ce", "ij")} | {(a, "kind") for a in "aci"}
