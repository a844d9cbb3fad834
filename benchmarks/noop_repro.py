"""`dvc repro` with nothing to do, for a data set of many clips against one of a few, each in a clone of its own."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import clips, project
from benchmarks.processes import python
from benchmarks.table import Row
from benchmarks.turns import take_turns


def measure(*, quick: bool) -> list[Row]:
    many, rounds = (40, 1) if quick else (10_000, 5)
    with tempfile.TemporaryDirectory() as name:
        few_s, many_s = (_noop_of(Path(name) / str(count), count) for count in (8, many))
        turns = take_turns(rounds, few=few_s, many=many_s)
    ours, anchor = (f"{turns.median(side):.2f} s" for side in ("many", "few"))
    return [Row(f"dvc repro frames, no-op: {many} / 8 clips", ours, anchor, turns.ratio("many", "few"), at_most=2)]


def _noop_of(folder: Path, count: int) -> Callable[[], float]:
    project.clone(folder)
    shutil.rmtree(folder / "dvc.lock", ignore_errors=True)
    source = clips.film(seed=0, gop_frames=12, frames=2, width_px=32, height_px=32)
    project.write_params(folder, clip_frames=1, size_px=16)
    project.write_clips(folder, [source], range(count))

    def repro() -> float:
        settings = {"ACTREC_CACHE": str(folder / ".actrec")}
        used = python("-m", "dvc", "repro", "-q", "frames", folder=folder, environment=settings)
        return used.wall_s

    repro()
    return repro
