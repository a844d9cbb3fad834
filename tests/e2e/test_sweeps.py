"""A sweep by real DVC: killed in its second run it goes on there, and the workspace ends as it began."""

import json
from pathlib import Path
from subprocess import Popen

import psutil
from checkout import Checkout

SWEEP = "grid: {train.lr: [0.01, 0.001], train.epochs: [1]}\nmaximise: val.action.top1\n"


def test_a_killed_sweep_goes_on_and_leaves_the_workspace_as_it_was(reproduced: Checkout, tmp_path: Path) -> None:
    sweep = tmp_path / "tiny.yaml"
    sweep.write_text(SWEEP, encoding="utf-8")
    before = workspace(reproduced)

    with reproduced.start("python", "-m", "actrec", "sweep", str(sweep)) as running:
        wait_for_second_training(running)
        kill_all(running)
    records = reproduced.folder / "results/sweeps/tiny"
    assert [path.name for path in records.glob("0*")] == ["00-lr0.01-epochs1.json"]
    assert workspace(reproduced) != before

    said = reproduced("python", "-m", "actrec", "sweep", str(sweep)).text
    assert "an earlier sweep was killed; the workspace is put back" in said
    assert "run 2 of 2, tiny-01-lr0.001-epochs1" in said and "run 1 of 2" not in said
    assert workspace(reproduced) == before
    assert reproduced("git", "status", "--short").text == ""
    assert "up to date" in reproduced("dvc", "status").text

    done = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(records.glob("0*"))]
    assert [(run["status"], run["params"]["train"]["lr"]) for run in done] == [("done", 0.01), ("done", 0.001)]
    assert all(run["metrics"]["training"]["epochs"] == 1 and run["minutes"] > 0 for run in done)
    assert reproduced.exp_run("--name", "again", "-S", "train.epochs=1", "-S", "train.lr=0.001").ran == []
    assert json.loads((reproduced.folder / "results/metrics.json").read_text()) == done[1]["metrics"]

    table = reproduced("python", "-m", "actrec", "compare", "tiny-*", "--plot", "results/both.png").text
    assert [line.split()[:2] for line in table.splitlines() if line.startswith("tiny-")] == [
        *(["tiny-00-lr0.01-epochs1", "0.01"], ["tiny-01-lr0.001-epochs1", "0.001"])
    ]
    listed = reproduced("python", "-m", "actrec", "compare").text
    rows = [line.split()[0] for line in listed.splitlines()[2:-1]]  # below them, what minutes are
    assert "tiny-01-lr0.001-epochs1" in rows and rows[-1] == "HEAD"
    assert "workspace" not in rows, "it holds the last experiment, which has a name"
    assert {"table.csv", "table.md", "table.png"} <= {path.name for path in records.iterdir()}


def test_a_dry_run_shows_the_commands_and_runs_none(reproduced: Checkout) -> None:
    said = reproduced("python", "-m", "actrec", "sweep", "optimiser-demo", "--dry-run").text
    assert said.count("dvc exp run --name optimiser-demo-") == 9
    assert not (reproduced.folder / "results/sweeps/optimiser-demo").exists()


def workspace(checkout: Checkout) -> dict[str, bytes]:
    found = checkout.bytes_of("params.yaml", "dvc.lock", "models", "results")
    return {name: content for name, content in found.items() if not name.startswith("results/sweeps/")}


def wait_for_second_training(running: "Popen[str]") -> None:
    assert running.stdout
    text = ""
    for line in running.stdout:
        text += line
        if "run 2 of 2" in text and "Running stage 'train'" in line:
            return
    raise AssertionError(f"it ended too early to be killed:\n{text}")


def kill_all(running: "Popen[str]") -> None:
    """Kill a sweep, DVC and its stage, as a power failure does."""
    processes = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=30)
    running.communicate()
