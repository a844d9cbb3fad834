"""Killed half way, by the signal that no process can catch: the next `dvc repro` ends as if nothing had happened."""

import csv
import re
import time
from pathlib import Path
from subprocess import Popen

import psutil
from checkout import Checkout, fill_folders

EPOCHS = 80
TIMES = ("data_s", "compute_s", "epoch_s", "peak_memory_mb")
OUTS = ("data/processed/demo/video_frames", "data/interim/demo/quarantine_frames.csv")


def test_training_goes_on_where_it_was_killed(reproduced: Checkout, tmp_path: Path) -> None:
    reproduced.set_params(train={"epochs": EPOCHS})
    undisturbed = reproduced.copy(tmp_path / "undisturbed")
    undisturbed.repro("train")

    with reproduced.start("dvc", "repro", "train") as dvc:
        read_until(dvc, f"epoch  20/{EPOCHS}")
        stage_process(dvc, "train").kill()
        rest = read_all(dvc)
    assert dvc.returncode != 0
    assert f"epoch  {EPOCHS}/{EPOCHS}" not in rest

    with reproduced.start("dvc", "repro", "train") as dvc:
        text = read_until(dvc, f"epoch  50/{EPOCHS}")
        assert "train: going on with an interrupted run" in text
        assert first_epoch(text) > 20
        dvc.kill()
        dvc.wait()
        # Its stage lives on, and is at work when the next one starts.
        assert reproduced.repro("train").ran == ["train"]
        read_all(dvc)

    assert reproduced.bytes_of("models") == undisturbed.bytes_of("models")
    assert history(reproduced) == history(undisturbed)
    assert len(history(reproduced)) == EPOCHS
    assert "up to date" in reproduced("dvc", "status", "train").text
    assert not list((reproduced.home / "store").rglob("*.pt")), "nothing is left to go on with"


def test_decoding_goes_on_where_it_was_killed(reproduced: Checkout, tmp_path: Path) -> None:
    fill_folders(tmp_path / "clips", reproduced.folder / "data/raw/demo/clips", copies=20)
    reader = {"kind": "folder", "head": "action", "splits": None, "group_regex": None}
    reproduced.set_params(data={"root": str(tmp_path / "clips"), "reader": reader})
    reproduced.repro("ingest")

    with reproduced.start("dvc", "repro", "frames") as dvc:
        wait_for_items(reproduced.home / "store/frames", 16 + 20, dvc)
        stage = stage_process(dvc, "frames")
        workers = stage.children(recursive=True)
        stage.kill()
        read_all(dvc)
    assert dvc.returncode != 0
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "workers end when nobody wants their work any more"

    text = reproduced.repro("frames").text
    (decoded,) = re.findall(r"frames: 320 clips, (\d+) of them decoded now, 0 set aside", text)
    assert 0 < int(decoded) <= 300
    killed = reproduced.bytes_of(*OUTS)
    assert len(killed) == 320 + len(["the index", "the quarantine list"])
    undisturbed = reproduced("python", "-m", "pipeline.frames", env={"ACTREC_CACHE": "off", "ACTREC_WORKERS": "3"}).text
    assert "320 of them decoded now" in undisturbed
    assert reproduced.bytes_of(*OUTS) == killed


def read_until(running: "Popen[str]", said: str) -> str:
    """Return what a process prints until a line says something."""
    assert running.stdout
    lines = []
    for line in running.stdout:
        lines.append(line)
        if said in line:
            return "".join(lines)
    raise AssertionError(f"'{said}' is not in:\n{''.join(lines)}")


def read_all(running: "Popen[str]") -> str:
    """Return the rest of what a process prints, and those that it started, after the last of them has ended."""
    assert running.stdout
    return running.stdout.read()


def stage_process(dvc: "Popen[str]", stage: str) -> psutil.Process:
    """Return the stage's own process: neither the shell in which DVC runs it, nor one of the workers that it has."""
    commands = {child: child.cmdline() for child in psutil.Process(dvc.pid).children(recursive=True)}
    (process,) = [child for child, command in commands.items() if command[1:] == ["-m", f"pipeline.{stage}"]]
    return process


def wait_for_items(store: Path, count: int, dvc: "Popen[str]") -> None:
    while len(list(store.glob("*/*.json"))) < count:
        assert dvc.poll() is None, "it ended too early to be killed"
        time.sleep(0.002)


def first_epoch(text: str) -> int:
    return int(re.findall(rf"epoch +(\d+)/{EPOCHS}", text)[0])


def history(checkout: Checkout) -> list[dict[str, str]]:
    with (checkout.folder / "results/history.csv").open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]
