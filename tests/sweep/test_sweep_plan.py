"""A sweep file becomes runs, or is refused before any of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actrec.cli import app
from actrec.errors import UserError
from actrec.params.load import load, plain
from actrec.sweep.plan import grid_choices, load_sweep
from actrec.sweep.sweep import describe_sweeps, dry_run_lines, planned

REPO = Path(__file__).resolve().parents[2]
LR = "recipe: demo\ngrid: {train.lr: [0.01, 0.1]}\nmaximise: val.action.top1\n"
WriteSweep = Callable[..., Path]


def refused(write_sweep: WriteSweep, text: str) -> str:
    write_sweep(text)
    with pytest.raises(UserError) as caught:
        planned("lr")
    return str(caught.value)


def runs(name: str):
    plan = planned(name)
    return [run for n, c in enumerate(grid_choices(plan.sweep.grid or {})) for run in plan.runs(c, n)]


def test_a_grid_is_all_combinations(write_sweep: WriteSweep) -> None:
    write_sweep(LR.replace("0.1]", "0.1], train.epochs: [1, 2, 3]"))
    found = runs("lr")
    assert [(r.params["train"]["lr"], r.params["train"]["epochs"]) for r in found] == [
        *((0.01, 1), (0.01, 2), (0.01, 3), (0.1, 1), (0.1, 2), (0.1, 3))
    ]
    assert found[4].name == "lr-04-lr0.1-epochs2" and found[4].number == 4
    # Nothing else is changed.
    base = plain(load("recipes/demo.yaml"))
    assert {**found[0].params, "train": None} == {**base, "train": None}


def test_seeds_are_the_innermost_dimension(write_sweep: WriteSweep) -> None:
    write_sweep(LR + "seeds: [3, 4]\n")
    assert [(r.name, r.params["seed"]) for r in runs("lr")] == [
        *(("lr-00-lr0.01-s3", 3), ("lr-01-lr0.01-s4", 4), ("lr-02-lr0.1-s3", 3), ("lr-03-lr0.1-s4", 4))
    ]


def test_cases_change_together_and_a_section_is_replaced(write_sweep: WriteSweep) -> None:
    case = (
        "{name: sgd, set: {train.optimizer: {kind: sgd, momentum: 0.5, nesterov: true, weight_decay: 0}, train.lr: 1}}"
    )
    write_sweep(f"recipe: demo\ngrid: {{cases: [{case}], seed: [7]}}\nmaximise: val.action.top1\n")
    (run,) = runs("lr")
    assert run.params["train"]["optimizer"] == {"kind": "sgd", "momentum": 0.5, "nesterov": True, "weight_decay": 0.0}
    assert (run.params["train"]["lr"], run.params["seed"], run.name) == (1.0, 7, "lr-00-sgd-seed7")


def test_without_a_recipe_it_starts_from_params(write_sweep: WriteSweep) -> None:
    write_sweep(LR.replace("recipe: demo\n", ""))
    assert {run.params["recipe"] for run in runs("lr")} == {"linear-probe"}
    assert {run.params["seed"] for run in runs("lr")} == {5}


@pytest.mark.parametrize("path", sorted((REPO / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_ones_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    assert len(list(dry_run_lines(planned(path.stem)))) >= 2


def test_the_shipped_ones_are_listed_with_their_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    lines = describe_sweeps()
    names = ["architecture", "augmentation", "image-size", "learning-rate", "optimiser"]
    assert set(names) <= {line.split()[0] for line in lines} and all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LR.replace("maximise", "maximize"), "maximize is not a setting of sweeps. Did you mean maximise?"),
        (LR.replace("maximise: val.action.top1\n", ""), "maximise is missing"),
        (LR.replace("val.", "test."), "maximise is 'test.action.top1', expected val.<head>.<metric>"),
        (LR.replace("top1", "loss"), "maximise is 'val.action.loss', expected val.<head>.<metric>"),
        (LR.replace("val.action", "val.act"), "maximise names the head 'act'; the model has action"),
        (LR.replace("train.lr", "train.lrr"), "run lrr0.01: train.lrr is not a setting. Did you mean train.lr?"),
        (LR.replace("0.1]", "-1]"), "run lr-1: train.lr is -1"),
        (LR.replace("0.1]", "abc]"), "run lrabc: train.lr is 'abc'"),
        (LR.replace("0.1]", "0.01]"), "lr-00-lr0.01 and lr-01-lr0.01 have the same settings"),
        (LR.replace("demo", "demmo"), "no recipe 'demmo' in recipes/. Did you mean demo?"),
        (LR.replace("grid", "gird"), "gird is not a setting of sweeps. Did you mean grid?"),
        (LR + "sample: {space: {train.lr: [1, 2]}, runs: 2}\n", "give either grid or sample"),
        (LR + "seeds: [1, 1]\n", "seeds has one twice"),
        (LR.replace("train.lr: [0.01, 0.1]", "seed: [1]") + "seeds: [1]\n", "seed is given twice"),
        (LR.replace("[0.01, 0.1]", "[]"), "grid.train.lr is []"),
        (LR.replace("[0.01, 0.1]", "[1], train.lr.x: [2]"), "train.lr and train.lr.x are both set"),
        (
            LR.replace("train.lr: [0.01, 0.1]", "train.augment.rgb.randaugment.ops: [2]"),
            "train.augment.rgb.randaugment is null. Set train.augment.rgb.randaugment as a whole",
        ),
        (LR.replace("train.lr: [0.01, 0.1]", "cases: [{name: a}]"), "set is missing"),
        ("grid: [", "not valid YAML"),
        ("- 1", "expected grid: or sample:, and maximise:, got list"),
    ],
)
def test_what_is_refused(write_sweep: WriteSweep, text: str, expected: str) -> None:
    assert expected in refused(write_sweep, text)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("{low: 0.1, high: 0.01}", "sample.space.train.lr: low must be below high, got 0.1 and 0.01"),
        ("{low: 0, high: 1, log: true}", "log needs low above 0"),
        ("{low: 0.1, hihg: 1}", "sample.space.train.lr.hihg is not a setting of sweeps. Did you mean high?"),
        ("{low: -1.0, high: 1.0}", "train.lr is -1"),
        ("[0.1, abc]", "train.lr is 'abc'"),
    ],
)
def test_a_space_is_checked_to_its_ends(write_sweep: WriteSweep, space: str, expected: str) -> None:
    text = f"recipe: demo\nsample: {{space: {{train.lr: {space}}}, runs: 3}}\nmaximise: val.action.top1\n"
    assert expected in refused(write_sweep, text)


def test_val_must_be_evaluated(write_sweep: WriteSweep, project: Path) -> None:
    recipe = (project / "recipes/demo.yaml").read_text().replace("splits: [val, test]", "splits: [test]")
    (project / "recipes/demo.yaml").write_text(recipe)
    assert "evaluate.splits is ['test']: add val" in refused(write_sweep, LR)


def test_an_unknown_sweep_names_the_nearest(write_sweep: WriteSweep) -> None:
    write_sweep(LR, name="optimiser")
    with pytest.raises(UserError, match=r"no sweep 'optimizer' in sweeps/.*Did you mean optimiser\?"):
        planned("optimizer")
    Path("sweeps/a.b.yaml").write_text(LR)
    with pytest.raises(UserError, match="letters, digits, - and _ only"):
        planned("sweeps/a.b.yaml")


def test_a_dry_run_prints_the_commands(write_sweep: WriteSweep) -> None:
    write_sweep(LR)
    before = Path("params.yaml").read_bytes()
    done = CliRunner().invoke(app, ["sweep", "lr", "--dry-run"], catch_exceptions=False)
    assert done.stdout.splitlines() == [
        "# from recipe demo, on data/raw/demo; params.yaml stays as it is",
        f"dvc exp run --name lr-00-lr0.01 -S train.lr={json.dumps(0.01)}",
        "dvc exp run --name lr-01-lr0.1 -S train.lr=0.1",
    ]
    assert Path("params.yaml").read_bytes() == before and not Path("results/sweeps").exists()


def test_a_path_is_as_good_as_a_name(write_sweep: WriteSweep) -> None:
    path = write_sweep(LR)
    assert planned(str(path)).folder == planned("lr").folder == Path("results/sweeps/lr")
    assert load_sweep(path).target == ("action", "top1")
