"""Runs of a sweep that fail, and points that cannot be run: all are recorded, the sweep goes on, its end says so."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_dvc
import pytest
from fake_dvc import top1
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import load_study
from optuna.trial import FrozenTrial, TrialState

from actrec.errors import UserError
from actrec.sweep.plan import Range, Sample
from actrec.sweep.search import Search, points_to_check
from actrec.sweep.sweep import planned, run_sweep

DVC = (sys.executable, str(fake_dvc.__file__))
FOLDER = Path("results/sweeps/lr")
LR = "recipe: demo\ngrid: {train.lr: [0.1, 10.0]}\nmaximise: val.action.top1\n"
# Of the four pairs of sides one is not valid: a block of HOG would be larger than the picture.
HOG = """
recipe: images-hog
sample:
  space: {model.backbones.rgb.input_px: [64, 16], model.backbones.rgb.cell_px: [8, 16]}
  runs: 3
maximise: val.class.top1
"""
HOG_AND_LR = HOG.replace("[8, 16]}", "[8, 16], train.lr: {low: 0.001, high: 1.0}}")
TOO_SMALL = "input_px is 16: smaller than one block, cell_px * block_cells = 32"
WriteSweep = Callable[..., Path]


def recorded() -> list[dict]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("[0-9]*.json"))]


def trials(folder: Path = FOLDER) -> list[FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.log")))
    return load_study(study_name=folder.name, storage=storage).get_trials()


# --- the end ------------------------------------------------------------------------------------------------------


def test_a_sweep_whose_runs_failed_ends_with_1(
    write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch, typed: Callable[[str], tuple[Any, str]]
) -> None:
    monkeypatch.setitem(run_sweep.__kwdefaults__, "command", DVC)
    path = write_sweep(LR)
    expected = (
        "lr: 1 of 2 runs failed; results/sweeps/lr/table.csv has their messages in the column note. "
        "Try them again: actrec sweep {} --retry"
    )
    for typed_name in ("lr", "lr", str(path)):  # also where all are recorded already
        code, said = typed(f"actrec sweep {typed_name}")
        assert code == 1 and said.splitlines()[-1] == expected.format(typed_name)
    assert "the loss is nan" in (FOLDER / "table.csv").read_text(encoding="utf-8")
    assert typed("actrec sweep lr --retry")[0] == 1, "it fails again"


def test_a_sweep_whose_runs_are_all_done_ends_with_0(
    write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch, typed: Callable[[str], tuple[Any, str]]
) -> None:
    monkeypatch.setitem(run_sweep.__kwdefaults__, "command", DVC)
    write_sweep(LR.replace("10.0", "0.01"))
    code, said = typed("actrec sweep lr")
    assert code == 0 and "failed" not in said
    monkeypatch.setenv("FAKE_FAILING", "lr-01")
    assert typed("actrec sweep lr --restart")[0] == 1
    monkeypatch.delenv("FAKE_FAILING")
    assert typed("actrec sweep lr --retry")[0] == 0


# --- points that are not valid ------------------------------------------------------------------------------------


def test_a_small_space_of_choices_is_checked_whole(write_sweep: WriteSweep) -> None:
    write_sweep(HOG)
    with pytest.raises(UserError, match=r"run input_px16-cell_px16: .*smaller than one block"):
        planned("lr")
    write_sweep(HOG.replace("64, 16", "64, 32"))
    assert planned("lr").num_runs == 3


@pytest.mark.parametrize(("sides", "expected"), [((10, 10, 10), 1000), ((10, 10, 11), 31)])
def test_of_a_large_space_the_corners_are_checked(sides: tuple[int, ...], expected: int) -> None:
    space = {name: list(range(side)) for name, side in zip("abc", sides, strict=True)}
    assert len(points_to_check(Sample(space=space, runs=1))) == expected


def test_a_sampled_point_that_is_not_valid_fails_and_the_sweep_goes_on(write_sweep: WriteSweep) -> None:
    write_sweep(HOG_AND_LR + "seeds: [0, 1]\n")
    swept = run_sweep("lr", command=DVC)
    found = recorded()
    wrong = [run for run in found if run["status"] == "failed"]
    assert len(found) == 6 and 0 < len(wrong) < len(found) and found[-1]["status"] == "done"
    for run in found:
        sides = [run["set"][f"model.backbones.rgb.{name}"] for name in ("input_px", "cell_px")]
        assert (sides == [16, 16]) == (run in wrong) == (TOO_SMALL in run["message"])
        assert [run["params"]["model"]["backbones"]["rgb"][name] for name in ("input_px", "cell_px")] == sides
    assert f"{len(wrong)} of {len(found)} runs failed" in swept.failures
    assert swept.table.rows[-1][-1].startswith("failed: ")
    states = {"failed": TrialState.FAIL, "done": TrialState.COMPLETE}
    assert [trial.state for trial in trials()] == [states[run["status"]] for run in found[::2]]
    again = run_sweep("lr", retry=True, command=DVC)
    assert recorded() == found and again.failures == swept.failures and len(trials()) == 3


# --- scores that --retry has given --------------------------------------------------------------------------------


def test_the_study_is_told_what_a_retry_gave(write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    space = "{train.lr: {low: 0.001, high: 1.0, log: true}}"
    write_sweep(f"recipe: demo\nsample: {{space: {space}, runs: 3}}\nmaximise: val.action.top1\n")
    monkeypatch.setenv("FAKE_FAILING", "lr-01")
    run_sweep("lr", command=DVC)
    assert [trial.value is None for trial in trials()] == [False, True, False]
    monkeypatch.delenv("FAKE_FAILING")
    run_sweep("lr", retry=True, command=DVC)
    told = {trial.value for trial in trials() if trial.state == TrialState.COMPLETE}
    assert told == {top1(run["set"]["train.lr"], 0) for run in recorded()} and len(told) == 3
    run_sweep("lr", retry=True, command=DVC)
    assert len(trials()) == 4


def test_a_retried_point_stays_one_point(project: Path) -> None:
    sample = Sample(space={"train.lr": Range(low=0.001, high=1.0), "seed": [0, 1]}, runs=9)

    def search() -> Search:
        return Search(project / "one/study.log", sample)

    first = [search().propose(number) for number in range(2)]
    search().tell(0, None)
    search().tell(1, 0.5)
    for value in (None, 0.75, 0.75, None, 0.25):
        search().tell(0, value)
    assert [trial.value for trial in trials(project / "one")] == [None, 0.5, 0.75]
    new = search().propose(2)
    assert new not in first and search().propose(2) == new
    search().tell(2, 0.1)
    assert [search().propose(number) for number in range(3)] == [*first, new]
    assert [trial.value for trial in trials(project / "one")] == [None, 0.5, 0.75, 0.1]
    assert trials(project / "one")[2].params == trials(project / "one")[0].params
