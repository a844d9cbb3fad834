"""Experiments out of a real git, laid out beside each other; their numbers are made by hand."""

import csv
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from actrec.cli import app
from actrec.compare.revisions import experiments_named
from actrec.errors import UserError

REPO = Path(__file__).resolve().parents[2]
Experiments = Callable[..., None]


def metrics(top1: float, *, half: float = 0.1, minutes: float = 2.0, head: str = "action") -> dict[str, Any]:
    own = {"top1": top1, "top1_low": top1 - half, "top1_high": top1 + half, "f1_macro": top1 / 2}
    return {
        **{split: {head: {**own, "num_clips": 20}} for split in ("val", "test")},
        "training": {"minutes": minutes, "seconds": 1.0, "peak_memory_mb": 800.0},
    }


def git(*arguments: str, when: int = 0) -> str:
    date = f"2026-01-01T00:00:{when:02d}Z"
    identity = {f"GIT_{role}_{what}": "tester" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *arguments], env={**os.environ, **identity, **dates}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write(numbers: dict[str, Any] | None, **changes: Any) -> None:
    """Make the workspace one of an experiment: changes are settings, with __ for dots."""
    yaml = YAML()
    params = yaml.load(REPO / "recipes/demo.yaml")
    for name, value in changes.items():
        *parents, last = name.split("__")
        section = params
        for part in parents:
            section = section[part]
        section[last] = value
    yaml.dump(params, Path("params.yaml"))
    Path("results/metrics.json").unlink(missing_ok=True)
    if numbers is not None:
        Path("results/metrics.json").write_text(json.dumps(numbers))


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiments:
    """Be in a git checkout with a commit; return a function that makes an experiment of it, as DVC does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    write(metrics(0.5))
    git("init", "--quiet", "--initial-branch", "main")
    git("add", "--all")
    git("commit", "--quiet", "--message", "baseline")
    clock = iter(range(1, 60))

    def experiment(name: str, numbers: dict[str, Any] | None, **changes: Any) -> None:
        head = git("rev-parse", "HEAD")
        write(numbers, **changes)
        git("add", "--all")
        git("commit", "--quiet", "--message", name, when=next(clock))
        git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
        git("reset", "--quiet", "--hard", head)

    return experiment


def compare(*arguments: str) -> tuple[list[list[str]], str]:
    """Return the rows of the table that a command prints with minutes, cells apart, and what it says."""
    result = CliRunner().invoke(app, ["compare", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    *lines, below = result.stdout.splitlines()
    assert below.startswith("Minutes are of training alone")
    rows = [[cell for cell in line.split("  ") if cell] for line in lines]
    return [[cell.strip() for cell in row] for row in rows], result.stderr


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        compare(*arguments)
    return str(caught.value)


def test_by_default_the_newest_first_and_what_they_started_from(commit: Experiments) -> None:
    commit("first", metrics(0.6, minutes=3), train__lr=0.01)
    commit("second", metrics(0.7, half=0.05, minutes=250), train__lr=0.1)
    rows, said = compare()
    assert rows == [
        ["experiment", "train.lr", "val action top1", "test action top1", "minutes", "memory MB"],
        ["second", "0.1", "0.700 [0.650–0.750]", "0.700 [0.650–0.750]", "250", "800"],
        ["first", "0.01", "0.600 [0.500–0.700]", "0.600 [0.500–0.700]", "3", "800"],
        ["HEAD", "0.003", "0.500 [0.400–0.600]", "0.500 [0.400–0.600]", "2", "800"],
    ]
    write(metrics(0.8), train__lr=1.0)
    assert [row[0] for row in compare()[0][1:]] == ["workspace", "second", "first", "HEAD"]
    write(metrics(0.6, minutes=3), train__lr=0.01)  # what an experiment leaves behind is not told twice
    assert [row[0] for row in compare()[0][1:]] == ["second", "first", "HEAD"]
    assert Path("results/compare.png").read_bytes().startswith(b"\x89PNG") and "results/compare.png" in said


def test_by_name_pattern_branch_and_commit(commit: Experiments) -> None:
    commit("lr-01-a", metrics(0.6), train__lr=0.01)
    commit("lr-00-b", metrics(0.7), train__lr=0.1)
    commit("other", metrics(0.8), train__lr=1.0)
    sha = git("rev-parse", "HEAD")[:8]
    assert [row[0] for row in compare("other", "lr-*", "main", sha, "HEAD")[0][1:]] == [
        *("other", "lr-00-b", "lr-01-a", "main", sha, "HEAD")
    ]
    assert [row[0] for row in compare("lr-0?-a", "lr-0?-a")[0][1:]] == ["lr-01-a"]


def test_experiments_of_another_commit(commit: Experiments) -> None:
    commit("same", metrics(0.6), train__lr=0.01)
    commit("old", metrics(0.6), train__lr=0.01)
    git("commit", "--quiet", "--allow-empty", "--message", "next", when=30)
    assert "Other commits have some: --all-commits" in refused()
    commit("same", metrics(0.9), train__lr=0.1)
    assert [row[0] for row in compare()[0][1:]] == ["same", "HEAD"]
    assert [row[0] for row in compare("--all-commits")[0][1:]] == ["same", "old", "same", "HEAD"]
    # Of two of one name the one of this commit.
    rows, _ = compare("same", "old")
    assert [row[1:3] for row in rows[1:]] == [["0.1", "0.900 [0.800–1.000]"], ["0.01", "0.600 [0.500–0.700]"]]


def test_runs_that_differ_in_their_seed_are_pooled(commit: Experiments) -> None:
    for seed, top1 in enumerate((0.5, 0.6, 0.85)):
        commit(f"a-s{seed}", metrics(top1, minutes=1 + seed), seed=seed, train__lr=0.01)
    commit("b", metrics(0.7), train__lr=0.1)
    write(metrics(0.7), train__lr=0.1)  # the workspace still holds the last one
    rows, _ = compare("--pool")
    # (0.5 + 0.6 + 0.85) / 3 = 0.65, by hand.
    assert rows[1:] == [
        ["b", "0.1", "1", "0.700 [0.600–0.800]", "0.700 [0.600–0.800]", "2", "800"],
        ["a-s2 +2", "0.01", "3", "0.650 (0.500–0.850)", "0.650 (0.500–0.850)", "2", "800"],
        ["HEAD", "0.003", "1", "0.500 [0.400–0.600]", "0.500 [0.400–0.600]", "2", "800"],
    ]


def test_only_what_differs_is_shown_and_absent_settings_are_none(commit: Experiments) -> None:
    sgd = {"kind": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 0.01}
    commit("sgd", metrics(0.6), train__optimizer=sgd, data__split__seed=4)
    rows, _ = compare()
    assert rows[0][:5] == ["experiment", "optimizer.kind", "optimizer.momentum", "optimizer.nesterov", "split.seed"]
    assert rows[1][:5] == ["sgd", "sgd", "0.9", "false", "4"]
    assert rows[2][:5] == ["HEAD", "adamw", "-", "-", "0"]


def test_that_scores_are_of_other_data_is_said(commit: Experiments) -> None:
    commit("same", metrics(0.7), train__lr=0.1)
    assert "different data" not in compare()[1]
    commit("other", metrics(0.6), data__name="mine")
    rows, said = compare()
    assert "these are of different data (data.name): their scores are not of the same clips" in said
    assert rows[0][:3] == ["experiment", "data.name", "train.lr"]


def test_another_metric_or_head(commit: Experiments) -> None:
    two = metrics(0.6)
    two["val"]["species"] = two["test"]["species"] = {"top1": 0.25, "map_macro": 0.75}
    commit("two", two)
    assert compare("two")[0][0][1:5] == [
        *("val action top1", "test action top1", "val species top1", "test species top1")
    ]
    assert compare("two", "--head", "species")[0][1][1:3] == ["0.250", "0.250"]
    assert compare("two", "--metric", "f1_macro")[0][1][1:3] == ["0.300", "0.300"]
    assert refused("two", "--head", "specis") == "no head 'specis'. Did you mean species?"
    assert refused("two", "--metric", "f1_macor") == "no metric 'f1_macor'. Did you mean f1_macro?"


def test_an_experiment_without_metrics_has_its_row(commit: Experiments) -> None:
    commit("broken", None, train__lr=0.5)
    rows, _ = compare()
    assert rows[1] == ["broken", "0.5", "-", "-", "-", "-", "no results/metrics.json"]
    assert "none of broken has metrics" in refused("broken")


def test_the_table_is_written(commit: Experiments) -> None:
    commit("a|b", metrics(0.6), train__lr=0.01)
    compare("--out", "new/t.md", "--plot", "new/p.png")
    lines = Path("new/t.md").read_text(encoding="utf-8").splitlines()
    assert lines[2].startswith(r"| a\|b | 0.01 | 0.600 [0.500–0.700] |") and Path("new/p.png").stat().st_size > 1000
    compare("--out", "t.csv")
    with Path("t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["experiment"] for row in rows] == ["a|b", "HEAD"]
    assert rows[0]["val.action.top1_low"] == "0.5" and rows[0]["test.action.f1_macro"] == "0.3"
    assert (rows[0]["train.lr"], rows[0]["minutes"], rows[0]["clips_per_s"]) == ("0.01", "2", "")
    assert "ends in .csv or .md" in refused("--out", "t.xlsx")


def test_scores_are_never_shown_beside_settings_that_were_not_run(commit: Experiments) -> None:
    commit("one", metrics(0.6), train__lr=0.01)
    write(metrics(0.9), train__lr=0.5)
    lock = "stages:\n  train:\n    params:\n      params.yaml:\n        seed: 0\n        train:\n          lr: {}\n"
    Path("dvc.lock").write_text(lock.format(0.5))
    settings = {"seed": 0, "train": {"lr": 0.5}}
    Path("params.yaml").write_text(json.dumps(settings))
    assert compare("workspace")[0][1][1:3] == ["0.900 [0.800–1.000]", "0.900 [0.800–1.000]"]
    Path("dvc.lock").write_text(lock.format(0.25))
    rows, _ = compare("workspace", "one")
    assert rows[1][0] == "workspace" and "0.900" not in str(rows[1])
    assert rows[1][-1] == "params.yaml not run: dvc repro"


def test_without_experiments_the_workspace_is_beside_its_commit(commit: Experiments) -> None:
    write(metrics(0.8), train__lr=0.1)
    assert [row[0] for row in compare()[0][1:]] == ["workspace", "HEAD"]


def test_errors_name_what_is_near(commit: Experiments) -> None:
    assert "has no experiments yet. Make one: dvc exp run -S train.lr=0.001" in refused()
    commit("optimiser-00-sgd", metrics(0.6))
    assert "no experiment, branch or commit 'optimiser-00-sdg'. Did you mean optimiser-00-sgd?" in refused(
        "optimiser-00-sdg"
    )
    assert "Did you mean main?" in refused("mian")
    assert "no experiment, branch or commit 'x*'" in refused("x*")
    assert "no experiment, branch or commit" in refused("--", "--all")


def test_files_of_old_commits_that_cannot_be_read(commit: Experiments) -> None:
    commit("bad", metrics(0.6))
    Path("params.yaml").write_text("a: [")
    assert "workspace: its params.yaml is not valid YAML" in refused()
    write(metrics(0.6))
    Path("results/metrics.json").write_text("{")
    assert "workspace: its results/metrics.json is not valid JSON" in refused()


def test_outside_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no commit here" in refused()


def test_nothing_is_changed(commit: Experiments) -> None:
    commit("one", metrics(0.6))
    before = git("for-each-ref"), git("status", "--short")
    assert [each.name for each in experiments_named([])] == ["one", "HEAD"]
    assert (git("for-each-ref"), git("status", "--short")) == before
