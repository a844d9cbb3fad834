"""Sweeps as they run, are interrupted, and go on; a program that stands for DVC makes the results."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import fake_dvc
import pytest
from fake_dvc import top1
from typer.testing import CliRunner

from actrec.cli import app
from actrec.errors import UserError
from actrec.sweep.plan import Range, Sample
from actrec.sweep.search import Search
from actrec.sweep.sweep import dry_run_lines, planned, run_sweep

REPO = Path(__file__).resolve().parents[2]
DVC = (sys.executable, str(fake_dvc.__file__))
LR = "recipe: demo\ngrid: {train.lr: [0.1, 0.01, 10.0]}\nmaximise: val.action.top1\n"
MINE = {"params.yaml": None, "dvc.lock": "mine", "models/best.pt": "mine", "results/metrics.json": '{"mine": 1}'}
WriteSweep = Callable[..., Path]


@pytest.fixture
def mine(project: Path) -> Callable[[], bool]:
    """Return a function that says whether the workspace is as it was."""
    before = {name: (project / name).read_bytes() for name in MINE}
    return lambda: {name: (project / name).read_bytes() for name in MINE} == before


def called() -> list[str]:
    """Return the names of the experiments that were run."""
    lines = Path("calls.log").read_text().splitlines() if Path("calls.log").exists() else []
    return [line.split()[3] for line in lines if line.startswith("exp run")]


def record(name: str) -> dict:
    return json.loads(Path(f"results/sweeps/lr/{name}.json").read_text())


def test_every_run_is_recorded_and_the_workspace_ends_as_it_began(write_sweep: WriteSweep, mine, capfd) -> None:
    write_sweep(LR)
    table = run_sweep("lr", command=DVC).table
    assert called() == ["lr-00-lr0.1", "lr-01-lr0.01", "lr-02-lr10"]
    assert mine()
    # Without a target DVC would remove the outputs of every other data set.
    assert Path("calls.log").read_text().splitlines()[-1] == "checkout --force --allow-missing dvc.yaml"
    done = record("01-lr0.01")
    assert done["status"] == "done" and done["set"] == {"train.lr": 0.01} and done["params"]["train"]["lr"] == 0.01
    assert (done["minutes"], done["peak_memory_mb"], done["clips_per_s"]) == (1.5, 512.0, 33.0)
    assert done["metrics"]["val"]["action"]["top1"] == 0.8
    # The best first, the failed one last.
    assert [row[:2] for row in table.rows] == [("lr-01-lr0.01", "0.01"), ("lr-00-lr0.1", "0.1"), ("lr-02-lr10", "10")]
    assert table.rows[0][2:7] == ("0.800 [0.700–0.900]", "0.800 [0.700–0.900]", "1.5", "512", "33")
    said = capfd.readouterr().err
    assert "training lr-00-lr0.1" in said and "3 of 3 runs finished, 1 of them failed. results" in said
    assert "run 2 of 3, lr-01-lr0.01; about 0 min left" in said


def test_a_run_that_fails_is_recorded_with_its_message(write_sweep: WriteSweep) -> None:
    write_sweep(LR.replace("[0.1, 0.01, 10.0]", "[10.0, 0.1]"))
    table = run_sweep("lr", command=DVC).table
    failed = record("00-lr10")
    assert failed["status"] == "failed" and failed["metrics"] == {}
    assert failed["message"] == "train: the loss is nan\nlower train.lr"
    assert table.rows[1][-1] == "failed: train: the loss is nan" and table.rows[0][-1] == ""
    assert called() == ["lr-00-lr10", "lr-01-lr0.1"]
    run_sweep("lr", command=DVC)
    assert len(called()) == 2, "recorded runs are not run again"
    run_sweep("lr", retry=True, command=DVC)
    assert called()[2:] == ["lr-00-lr10"]


def test_the_tables_have_every_run(write_sweep: WriteSweep) -> None:
    write_sweep(LR)
    run_sweep("lr", command=DVC)
    folder = Path("results/sweeps/lr")
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["train.lr"] for row in rows] == ["0.1", "0.01", "10"]
    assert [float(row["val.action.top1"] or "nan") for row in rows[:2]] == [top1(0.1, 0), top1(0.01, 0)]
    assert rows[2]["val.action.top1"] == "" and rows[2]["note"].startswith("failed: train: the loss is nan")
    assert rows[0]["minutes"] == "1.5" and rows[0]["test.action.top1_high"] == repr(0.7 + 0.1)
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("| experiment | train.lr | val action top1 | test action top1 | minutes |")
    assert len(lines) == 7 and set(lines[1]) <= set("|-: ")
    assert lines[5] == "" and lines[6].startswith("Minutes are of training alone")
    assert (folder / "table.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_are_pooled_in_the_table(write_sweep: WriteSweep) -> None:
    write_sweep(LR.replace("0.01, 10.0", "0.01") + "seeds: [0, 1, 2]\n")
    table = run_sweep("lr", command=DVC).table
    # 0.80, 0.82, 0.84 and 0.70, 0.72, 0.74 by hand.
    assert [row[:4] for row in table.rows] == [
        ("lr0.01", "0.01", "3", "0.820 (0.800–0.840)"),
        ("lr0.1", "0.1", "3", "0.720 (0.700–0.740)"),
    ]
    with Path("results/sweeps/lr/table.csv").open(newline="", encoding="utf-8") as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["0", "1", "2"] * 2


def test_what_dvc_cannot_begin_stops_the_sweep(write_sweep: WriteSweep, mine, monkeypatch) -> None:
    write_sweep(LR)
    monkeypatch.setenv("FAKE_BUSY", "1")
    with pytest.raises(UserError, match=r"lr-00-lr0\.1: DVC could not run it\. 'models' is busy"):
        run_sweep("lr", command=DVC)
    assert mine() and not list(Path("results/sweeps/lr").glob("0*"))


def test_other_settings_than_asked_for_are_noticed(write_sweep: WriteSweep, mine, monkeypatch) -> None:
    write_sweep(LR)
    monkeypatch.setenv("FAKE_DISOBEDIENT", "1")
    with pytest.raises(UserError, match=r"DVC has set params\.yaml to something else"):
        run_sweep("lr", command=DVC)
    assert mine() and not list(Path("results/sweeps/lr").glob("0*"))


# --- interruptions ------------------------------------------------------------------------------------------------


def start(hang: str) -> "subprocess.Popen[str]":
    """Start the sweep in a process of its own and wait until run `hang` is at work."""
    program = f"from actrec.sweep.sweep import dry_run_lines, planned, run_sweep; run_sweep('lr', command={DVC!r})"
    env = {**os.environ, "FAKE_HANG": hang, "PYTHONPATH": str(REPO)}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a script begins with ctrl-C ignored, and so would everything that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not Path("hanging").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-C", "terminated"])
def test_an_interrupted_sweep_tidies_up_and_goes_on(write_sweep: WriteSweep, mine, number: int) -> None:
    write_sweep(LR)
    with start("lr-01-lr0.01") as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and "stopping the run" in said
    assert mine(), "params.yaml, dvc.lock, metrics and outputs are back"
    assert [path.name for path in Path("results/sweeps/lr").glob("0*")] == ["00-lr0.1.json"]
    run_sweep("lr", command=DVC)
    assert called() == ["lr-00-lr0.1", "lr-01-lr0.01", "lr-01-lr0.01", "lr-02-lr10"]
    assert mine()


def killed(write_sweep: WriteSweep) -> None:
    write_sweep(LR)
    with start("lr-01-lr0.01") as process:
        process.kill()
        process.communicate()
    assert "lr: 0.01" in Path("params.yaml").read_text(), "what the run has set"


def test_after_a_kill_the_next_sweep_puts_the_workspace_back(write_sweep: WriteSweep, mine, capfd) -> None:
    killed(write_sweep)
    run_sweep("lr", command=DVC)
    assert mine() and "the workspace is put back as it was before it" in capfd.readouterr().err
    assert called() == ["lr-00-lr0.1", "lr-01-lr0.01", "lr-01-lr0.01", "lr-02-lr10"]


def test_what_was_edited_after_a_kill_stays(write_sweep: WriteSweep, capfd) -> None:
    killed(write_sweep)
    edited = Path("params.yaml").read_bytes().replace(b"seed: 0", b"seed: 99", 1)
    Path("params.yaml").write_bytes(edited)
    run_sweep("lr", command=DVC)
    assert Path("params.yaml").read_bytes() == edited and "it stays as it is now" in capfd.readouterr().err


def test_two_sweeps_at_once_are_refused(write_sweep: WriteSweep) -> None:
    write_sweep(LR)
    with start("lr-00-lr0.1") as process:
        with pytest.raises(UserError, match="another sweep is at work in this folder"):
            run_sweep("lr", command=DVC)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


# --- what must stay the same --------------------------------------------------------------------------------------


def begun(write_sweep: WriteSweep) -> None:
    write_sweep(LR.replace(", 0.01, 10.0", ""))
    run_sweep("lr", command=DVC)


def refused() -> str:
    with pytest.raises(UserError) as caught:
        run_sweep("lr", command=DVC)
    assert "--restart" in str(caught.value)
    return str(caught.value)


def test_a_changed_sweep_file_is_refused_and_restarted(write_sweep: WriteSweep) -> None:
    begun(write_sweep)
    write_sweep("# a comment\n" + LR.replace("[0.1, 0.01, 10.0]", "[0.1,0.01]"))
    assert "the sweep file: grid.train.lr: [0.1] -> [0.1, 0.01]" in refused()
    with pytest.raises(UserError, match="since then this has changed"):
        list(dry_run_lines(planned("lr")))
    run_sweep("lr", restart=True, command=DVC)
    assert called() == ["lr-00-lr0.1"] * 2 + ["lr-01-lr0.01"]
    assert Path("results/sweeps/lr.old/00-lr0.1.json").exists()


def test_a_comment_changes_nothing(write_sweep: WriteSweep) -> None:
    begun(write_sweep)
    write_sweep("# a comment\n" + LR.replace("[0.1, 0.01, 10.0]", "[ 0.1 ]"))
    run_sweep("lr", command=DVC)
    assert called() == ["lr-00-lr0.1"]


def test_changed_settings_are_refused(write_sweep: WriteSweep) -> None:
    begun(write_sweep)
    recipe = Path("recipes/demo.yaml").read_text().replace("epochs: 30", "epochs: 31")
    Path("recipes/demo.yaml").write_text(recipe)
    assert "the settings it starts from: train.epochs: 30 -> 31" in refused()


def test_changed_code_is_refused(write_sweep: WriteSweep) -> None:
    begun(write_sweep)
    Path("actrec/media/clip.py").write_text("CLIP = 2\n")
    assert "  code: actrec/media/clip.py\n" in refused()


def test_changed_data_are_refused(write_sweep: WriteSweep) -> None:
    recipe = Path("recipes/folder.yaml")
    write_sweep(LR.replace("demo", "folder").replace(", 0.01, 10.0", ""))
    clips = Path("data/raw/clips/a")
    clips.mkdir(parents=True)
    (clips / "1.mp4").write_bytes(b"one")
    assert "data/raw/clips" in recipe.read_text()
    run_sweep("lr", command=DVC)
    (clips / "1.mp4").touch()
    run_sweep("lr", command=DVC)
    (clips / "1.mp4").write_bytes(b"two")
    assert "data: 1 files -> 1 files, not the same" in refused()
    (clips / "2.mp4").write_bytes(b"one")
    assert "data: 1 files -> 2 files" in refused()


def test_records_that_nobody_knows_are_not_taken(write_sweep: WriteSweep) -> None:
    begun(write_sweep)
    Path("results/sweeps/lr/sweep.json").unlink()
    assert "sweep.json is gone" in refused()


def test_a_record_that_cannot_be_read_is_made_again(write_sweep: WriteSweep) -> None:
    begun(write_sweep)
    Path("results/sweeps/lr/00-lr0.1.json").write_text("{")
    run_sweep("lr", command=DVC)
    assert called() == ["lr-00-lr0.1"] * 2


# --- samples ------------------------------------------------------------------------------------------------------

SAMPLE = """
recipe: demo
sample:
  space: {train.lr: {low: 0.0001, high: 1.0, log: true}, train.batch_size: {low: 8, high: 32}, seed: [0, 1]}
  runs: 4
maximise: val.action.top1
"""


def sampled(folder: Path) -> list[dict]:
    names = sorted(folder.glob("0*.json"))
    return [json.loads(name.read_text())["set"] for name in names]


def test_samples_stay_in_their_space_and_an_interruption_changes_none(write_sweep: WriteSweep, mine) -> None:
    write_sweep(SAMPLE)
    with start("lr-02") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    begun_with = sampled(Path("results/sweeps/lr"))
    assert len(begun_with) == 2 and mine()
    run_sweep("lr", command=DVC)
    interrupted = sampled(Path("results/sweeps/lr"))
    assert interrupted[:2] == begun_with and len(interrupted) == 4
    assert all(0.0001 <= own["train.lr"] <= 1 and 8 <= own["train.batch_size"] <= 32 for own in interrupted)
    assert all(isinstance(own["train.batch_size"], int) and own["seed"] in (0, 1) for own in interrupted)
    assert len({own["train.lr"] for own in interrupted}) == 4
    run_sweep("lr", restart=True, command=DVC)
    assert sampled(Path("results/sweeps/lr")) == interrupted
    assert Path("results/sweeps/lr/study.log").stat().st_size > 0


def test_samples_follow_what_the_ones_before_gave(project: Path) -> None:
    """Two searches begin with the same random points; one is told the score, the other what is missing to it."""

    def searched(name: str, sign: int) -> list[float]:
        search = Search(
            Path(name, "study.log"), Sample(space={"train.lr": Range(low=1e-6, high=10.0, log=True)}, runs=40)
        )
        scores = []
        for number in range(24):
            scores.append(top1(search.propose(number).changes["train.lr"], 0))
            search.tell(number, sign * scores[-1])
            search.tell(number, 99.0)  # a second time
        return scores

    good, bad = searched("good", 1), searched("bad", -1)
    assert good[:10] == bad[:10]
    assert fmean(good[10:]) > fmean(bad[10:]) + 0.1


def test_optuna_is_asked_for_by_name(write_sweep: WriteSweep, monkeypatch) -> None:
    write_sweep(SAMPLE)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'actrec\[optuna\]'"):
        run_sweep("lr", command=DVC)


def test_the_command(write_sweep: WriteSweep, monkeypatch) -> None:
    write_sweep(LR)
    monkeypatch.setitem(run_sweep.__kwdefaults__, "command", DVC)
    done = CliRunner().invoke(app, ["sweep", "lr"], catch_exceptions=False)
    assert done.stdout.splitlines()[1].split()[:2] == ["lr-01-lr0.01", "0.01"]
    assert "lr" in CliRunner().invoke(app, ["sweep"], catch_exceptions=False).stdout


def test_experiments_of_other_commits_are_left_alone(write_sweep: WriteSweep, project: Path) -> None:
    """A name may be taken on each commit by itself; --restart frees those of this one."""

    def git(*arguments: str) -> str:
        own = ["git", "-c", "user.name=tester", "-c", "user.email=tester@localhost", *arguments]
        return subprocess.run(own, cwd=project, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    refs = []
    for number in range(2):
        git("commit", "--quiet", "--allow-empty", "--message", str(number))
        head = git("rev-parse", "HEAD")
        refs.append(f"refs/exps/{head[:2]}/{head[2:]}/lr-00-lr0.1")
        git("update-ref", refs[-1], "HEAD")
    write_sweep(LR.replace("[0.1, 0.01, 10.0]", "[0.1]"))
    run_sweep("lr", command=DVC)
    removed = [line for line in Path("calls.log").read_text().splitlines() if line.startswith("exp remove")]
    assert removed == [f"exp remove {refs[1]}"]
