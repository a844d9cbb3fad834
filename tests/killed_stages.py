"""Runs stages in every way that must not change a byte, SIGKILL half way among them, and prints what each has left.

python killed_stages.py FOLDER prints JSON: {"stages": {cell: {stage: left}}, "train": {cell: left}}, see `left_by`. The
process imports everything once and runs nothing itself; each stage is a fork of it, and so are the stage's own workers.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from actrec import paths
from actrec.store import files, workers
from actrec.store.closure import code_version

REPO = Path(__file__).resolve().parents[1]
NAME = "demo-carrying"
# What the stages would otherwise import, and look through for its version, anew in each fork.
IMPORTS = ("torchvision", "sklearn.metrics", "pipeline.model", "actrec.store.frames", "actrec.store.skeletons")
IMPORTS += ("actrec.training.extract", "actrec.training.feature_report", "actrec.training.fit", "actrec.training.svm")
HAVE_HEAVY_IMPORTS = ("actrec.media.clip", "actrec.media.sound")
VERSIONS = ("actrec.training.extract", "pipeline.train"), ("torch", "torchvision", "transformers")
WORKERS, LOADER_WORKERS = (1, 2, 4), (0, 1, 2)
STORES = ("store", "off")
# The file, counted from 1, that is written but has not got its name when the signal comes. An item is two files, itself
# and its record: there are 24 items of each stage, and 33 of `features`, each with what three clips are.
KILLED_AT = {"skeletons": 14, "frames": 15, "mels": 16, "features": 21}
# Three epochs, each with a file of the state; then best.pt, last.pt and history.csv.
TRAIN_KILLED_AT = {"before the first state": 1, "between two epochs": 3, "between best.pt and last.pt": 5}
OUTS = {
    "skeletons": (paths.skeletons(NAME), paths.quarantine(NAME, "skeletons")),
    "frames": (paths.frames(NAME), paths.quarantine(NAME, "frames")),
    "mels": (paths.mels(NAME), paths.sound(NAME), paths.quarantine(NAME, "mels")),
    "features": (paths.features(NAME),),
    "train": (paths.MODELS, paths.HISTORY),
}
Cell = Callable[[], dict[str, Any]]
_LONGER_THAN_ALL_S = 600
TIMES = ("data_s", "compute_s", "epoch_s", "peak_memory_mb")

HOG = {"kind": "hog", "orientations": 9, "cell_px": 8, "block_cells": 2, "weights": {"kind": "none"}, "frozen": True}
OWN = {"weights": {"kind": "none"}, "token_grid": None}
SLOW = {**OWN, "kind": "slow_only", "blocks": [1, 1, 1, 1], "width": 4, "input_frames": 2, "input_px": 24}
SLOW |= {"crop_frac": 1.0}
POSE = {**OWN, "kind": "pose_conv3d", "blocks": [1, 1, 1], "width": 4, "temporal_stride": 1, "input_frames": 4}
POSE |= {"input_px": 8, "heatmaps": {"of": "joints", "sigma_px": 0.7}}
EAR = {"kind": "resnet", "depth": 18, "weights": {"kind": "none"}, "frozen": True}
VIEW = {"min_area_frac": 0.5, "flip_prob": 0.5}
AUGMENT: dict[str, Any] = {
    "rgb": {**VIEW, "color_jitter": 0.2, "randaugment": None},
    "audio": {"roll": True, "freq_masks": 1, "freq_mask_bins": 4, "time_masks": 1, "time_mask_steps": 4},
    "pose": VIEW,
}


# --- the experiments ----------------------------------------------------------------------------------------------


def cached_params(root: Path) -> dict[str, Any]:
    """Return pictures, sound and skeletons, whose frozen backbones the stage `features` runs."""
    params = YAML(typ="safe", pure=True).load((REPO / "recipes/rgbpose-demo.yaml").read_text(encoding="utf-8"))
    params["data"] |= {"name": NAME, "root": str(root)}
    params["data"]["skeletons"] |= {"path": "poses"}
    params["demo"] |= {"subjects": 3, "takes": 1, "clip_s": 0.5, "size_px": 32}
    params["frames"] |= {"clip_frames": 4, "size_px": 24}
    params["mels"] |= {"enabled": True, "sample_rate_hz": 8000, "f_max_hz": 4000, "n_fft": 256, "hop_samples": 128}
    params["mels"] |= {"n_mels": 32, "duration_s": 0.4}
    params["features"] |= {"enabled": True, "views": 2, "augment": AUGMENT, "batch_size": 3}
    params["compute"] |= {"device": "cpu", "threads": 1}
    params["model"]["backbones"] = {
        "rgb": {**HOG, "input_px": 24, "crop_frac": 1.0},
        "audio": EAR,
        "pose": {**POSE, "frozen": True},
    }
    params["model"]["neck"] |= {"ratios": [[1, 1, 1]], "laterals": {"kind": "none"}}
    params["train"] |= {"augment": AUGMENT, "select_on": "pose/act.mean_per_class_acc"}
    params["evaluate"] |= {"worst_clips": 0}
    return params


def live_params(root: Path) -> dict[str, Any]:
    """Return pictures and skeletons, learned from as they are: one epoch with backbones frozen, then two without."""
    params = cached_params(root)
    params["mels"]["enabled"] = params["features"]["enabled"] = False
    params["model"]["backbones"] = {"rgb": {**SLOW, "frozen": False}, "pose": {**POSE, "frozen": False}}
    params["model"]["neck"]["ratios"] = [[1, 1]]
    params["train"] |= {"epochs": 2, "freeze": {"epochs": 1, "lr": 0.01}, "batch_size": 2, "accumulate": 2}
    return params


def write_params(project: Path, params: Mapping[str, Any]) -> None:
    with (project / paths.PARAMS).open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(params, file)


def drawn(project: Path, **env: str) -> None:
    """Draw the clips, give each its own file of skeletons, and list them."""
    project.mkdir()
    params = cached_params(project / paths.DEMO)
    write_params(project, params)
    finish(forked(partial(run_stage, "demo", project, env)))
    with np.load(project / paths.DEMO / "skeletons.npz") as arrays:
        for name in sorted({key.partition("/")[0] for key in arrays}):
            own = {key: arrays[key] for key in arrays if key.partition("/")[0] == name}
            (project / paths.DEMO / "poses").mkdir(exist_ok=True)
            np.savez(project / paths.DEMO / f"poses/{name}.npz", **own)
    finish(forked(partial(run_stage, "ingest", project, env)))


# --- runs ---------------------------------------------------------------------------------------------------------


def run_stage(stage: str, project: Path, env: Mapping[str, str]) -> None:
    """Run a stage's own script, in this process."""
    os.chdir(project)
    os.environ.update(env)
    import_module(f"pipeline.{stage}").main(paths.PARAMS)


def stand_still_at(number: int, marker: Path) -> None:
    """Let this process and its workers stop for good when the file of this number has all but its name."""
    real, count = files.publish, multiprocessing.get_context("fork").Value("i", 0)

    def publish(temporary: Path, path: Path, *, sync: bool = True) -> None:
        with count.get_lock():
            count.value += 1
            stops = count.value >= number
        if stops:
            marker.touch()
            time.sleep(_LONGER_THAN_ALL_S)
        real(temporary, path, sync=sync)

    files.publish = publish


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a fork, the leader of a session of its own."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def finish(pid: int) -> None:
    status = os.waitpid(pid, 0)[1]
    if status:
        sys.exit(f"a run ended with status {status}")


def kill_at(number: int, work: Callable[[], None], marker: Path) -> None:
    """Run `work`, and kill it with all that it has started, by the signal that nothing can catch."""

    def standing() -> None:
        stand_still_at(number, marker)
        work()

    marker.unlink(missing_ok=True)
    pid = forked(standing)
    while not marker.exists():
        if os.waitpid(pid, os.WNOHANG)[0]:
            sys.exit(f"a run ended before its file number {number}, which it was to be killed at")
        time.sleep(0.002)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# --- what they leave ----------------------------------------------------------------------------------------------


def left_by(stage: str, project: Path) -> dict[str, Any]:
    """Return the digest of each file that the stage has made, and the names of all in the project that are hidden."""
    found = {path for out in OUTS[stage] for path in [project / out, *(project / out).rglob("*")] if path.is_file()}
    named = {path.relative_to(project).as_posix(): path for path in sorted(found)}
    hidden = sorted(path.relative_to(project).as_posix() for path in project.rglob(".*"))
    return {"digests": {name: digest(path) for name, path in named.items() if "/." not in name}, "hidden": hidden}


def digest(path: Path) -> str:
    content = path.read_bytes()
    return sha256(without_times(content) if path.name == "history.csv" else content).hexdigest()


def without_times(table: bytes) -> bytes:
    """Return a history without the columns that tell how long it took."""
    rows = [line.split(",") for line in table.decode().splitlines()]
    kept = [column for column, name in enumerate(rows[0]) if name not in TIMES]
    return "\n".join(",".join(row[column] for column in kept) for row in rows).encode()


def stored(store: Path, stage: str) -> int:
    """Return how many items of a stage are whole, in a store or in one that was to last for a run alone."""
    return len(list(store.glob(f"{stage}/??/*.json"))) + len(list(store.glob(f".store-*/{stage}/??/*.json")))


# --- the two matrices ---------------------------------------------------------------------------------------------


def stage_cell(project: Path, num_workers: int, store: str, *, killed: bool) -> dict[str, Any]:
    """Run the stages in which items are made, one after the other; return what each has left."""
    folder = project.with_name(f"{project.name}.store") if store == "store" else (project / paths.frames(NAME)).parent
    env = {"ACTREC_CACHE": str(folder) if store == "store" else "off", "ACTREC_WORKERS": str(num_workers)}
    found = {}
    for stage, number in KILLED_AT.items():
        work, when_killed = partial(run_stage, stage, project, env), None
        if killed:
            kill_at(number, work, project.with_name(f"{project.name}.standing"))
            when_killed = stored(folder, stage)
        finish(forked(work))
        found[stage] = {**left_by(stage, project), "stored_when_killed": when_killed, "stored": stored(folder, stage)}
    return found


def train_cell(project: Path, loader_workers: int, number: int | None) -> dict[str, Any]:
    """Train, killed at a file if there is a number, and then again; return what that has left."""
    store = project.with_name(f"{project.name}.store")
    env = {"ACTREC_CACHE": str(store), "ACTREC_LOADER_WORKERS": str(loader_workers)}
    work, states = partial(run_stage, "train", project, env), None
    if number:
        kill_at(number, work, project.with_name(f"{project.name}.standing"))
        states = len(list(store.glob("unfinished/*.pt")))
    finish(forked(work))
    return {**left_by("train", project), "states_when_killed": states, "states": len(list(store.rglob("*.pt")))}


def import_all() -> None:
    for name in IMPORTS:
        import_module(name)
    for module in HAVE_HEAVY_IMPORTS:
        for name in import_module(module).HEAVY_IMPORTS:
            with suppress(ImportError):  # of packages that are not installed everywhere
                import_module(name)
    for module in VERSIONS[0]:
        code_version(module, *VERSIONS[1])


def main(folder: Path) -> None:
    import_all()
    # The server from which workers are forked elsewhere would import torch again for every run.
    workers._context = lambda preload: multiprocessing.get_context("fork")
    drawn(folder / "first", ACTREC_CACHE="off")
    cells = {"stages": side_by_side(stage_cells(folder), folder / "found")}
    cells["train"] = side_by_side(train_cells(folder), folder / "found")
    print(json.dumps(cells))


def stage_cells(folder: Path) -> dict[str, Cell]:
    """Return what makes each cell of the stages, by its name."""
    cells: dict[str, Cell] = {}
    for num_workers, store, how in product(WORKERS, STORES, ("undisturbed", "killed")):
        name = cell_name(num_workers, store, how)
        project = copied(folder / "first", folder / name)
        cells[name] = partial(stage_cell, project, num_workers, store, killed=how == "killed")
    return cells


def train_cells(folder: Path) -> dict[str, Cell]:
    """Return what makes each cell of training, by its name."""
    cells: dict[str, Cell] = {}
    for loader_workers, (how, number) in product(LOADER_WORKERS, {"undisturbed": None, **TRAIN_KILLED_AT}.items()):
        name = cell_name(loader_workers, how)
        project = copied(folder / cell_name(WORKERS[0], STORES[0], "undisturbed"), folder / "train" / name)
        write_params(project, live_params(folder / "first" / paths.DEMO))
        cells[name] = partial(train_cell, project, loader_workers, number)
    return cells


def side_by_side(cells: Mapping[str, Cell], folder: Path) -> dict[str, Any]:
    """Make cells, as many at a time as there are processors; return what each has found."""
    folder.mkdir(exist_ok=True)
    waiting, running = list(cells.items()), 0
    while waiting or running:
        while waiting and running < workers.worker_count():
            name, cell = waiting.pop(0)
            forked(partial(write_found, folder / name, cell))
            running += 1
        finish(-1)
        running -= 1
    return {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in cells}


def write_found(file: Path, cell: Cell) -> None:
    file.write_text(json.dumps(cell()), encoding="utf-8")


def copied(project: Path, to: Path) -> Path:
    """Return a copy of a project, without the raw data, which all share."""
    return Path(shutil.copytree(project, to, ignore=shutil.ignore_patterns("raw")))


def cell_name(*parts: object) -> str:
    return ", ".join(map(str, parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
