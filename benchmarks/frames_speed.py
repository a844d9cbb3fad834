"""The frames stage against bare loops around decord, PyAV and torchcodec, and two workers against one.

Both are timed from when everything is imported; the stage's own time has reading params and manifest, hashing each
file, starting workers, writing to the store, linking and the index. The loop writes its files where they shall be.
"""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from actrec.console import say
from benchmarks import clips, project
from benchmarks.decode_loop import READERS
from benchmarks.processes import python
from benchmarks.table import Row
from benchmarks.turns import take_turns

_CLIP_FRAMES, _SIZE_PX = 16, 224


def measure(*, quick: bool) -> list[Row]:
    num_clips, rounds, frames = (4, 1, 30) if quick else (48, 5, 300)
    rows = []
    for name, gop_frames in (("key frame every 12", 12), ("every 250", 250)):
        sources = [
            clips.film(seed=seed, gop_frames=gop_frames, frames=frames, width_px=340, height_px=256)
            for seed in range(4)
        ]
        with tempfile.TemporaryDirectory() as folder:
            rows += _compare(Path(folder), sources, num_clips, rounds, name)
    return rows


def _compare(folder: Path, sources: list[Path], num_clips: int, rounds: int, name: str) -> list[Row]:
    store = folder / "store"
    project.write_params(folder, clip_frames=_CLIP_FRAMES, size_px=_SIZE_PX)
    project.write_clips(folder, sources, range(num_clips))
    python("-m", "pipeline.ingest", folder=folder, environment={"ACTREC_CACHE": str(store)})

    def stage(workers: int) -> float:
        project.forget_results(folder, store)
        settings = {"ACTREC_CACHE": str(store), "ACTREC_WORKERS": str(workers)}
        return float(python("-m", "benchmarks.timed_frames", folder=folder, environment=settings).output)

    def loop(decoder: str) -> float:
        out = folder / "loop"
        shutil.rmtree(out, ignore_errors=True)
        settings = (decoder, str(project.DATA), str(out), str(_CLIP_FRAMES), str(_SIZE_PX))
        return float(python("-m", "benchmarks.decode_loop", *settings, folder=folder).output)

    decoders = [name for name in READERS if name != "torchcodec" or _has_torchcodec(sources[0])]
    loops = {name: partial(loop, name) for name in decoders}
    turns = take_turns(rounds, one=lambda: stage(1), two=lambda: stage(2), **loops)
    ms = {side: f"{turns.median(side) / num_clips * 1e3:.0f} ms a clip" for side in turns.values}
    what = f"340x256, 10 s, {name}"
    return [
        *(
            Row(
                f"frames, 1 worker / {decoder} loop ({what})",
                ms["one"],
                ms[decoder],
                turns.ratio("one", decoder),
                at_most=1.15 if decoder == "decord" else None,
            )
            for decoder in loops
        ),
        Row(f"frames, 1 worker / 2 workers ({what})", ms["two"], ms["one"], turns.ratio("one", "two"), at_least=1.7),
    ]


def _has_torchcodec(source: Path) -> bool:
    """Tell whether it is here, with FFmpeg's libraries, which it looks for when it is first used."""
    try:
        READERS["torchcodec"]()(source, 1)
    except (ImportError, RuntimeError) as error:
        say(f"frames_speed: no torchcodec here ({str(error).splitlines()[0]}): its rows are left out")
        return False
    return True
