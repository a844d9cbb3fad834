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
    counts, rounds = ((40,), 1) if quick else ((10_000, 50_000), 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many_s = {str(count): _noop_of(folder / str(count), count) for count in counts}
        turns = take_turns(rounds, few=_noop_of(folder / "few", 8), **many_s)
    few = f"{turns.median('few'):.2f} s"
    return [
        Row(
            f"dvc repro frames, no-op: {many} / 8 clips",
            f"{turns.median(many):.2f} s",
            few,
            turns.ratio(many, "few"),
            at_most=2,
        )
        for many in many_s
    ]


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
