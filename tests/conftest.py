"""Helpers that tests of several packages share."""

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actrec.errors import BadItem
from actrec.store.workers import Outcome

MakeVideo = Callable[..., Path]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out the tests of a file together, for its fixtures' sake, but recipes one by one.

    Those need minutes and share nothing: a process that gets them all, and late, leaves the others idle at the end.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # else files of few tests come last, and those are the longest

    class RecipesOneByOne(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if "::test_a_recipe_runs[" in nodeid else super()._split_scope(nodeid)

    return RecipesOneByOne(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give each test, and the fixtures made for it, the same random weights whatever ran before it.

    Torch takes another seed in every process. It is not imported for this: most tests do without it.
    """
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let several processes start with what takes longest, so that none of them ends long after the others."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not any(map(item.get_closest_marker, ("e2e", "long"))))


def _write_video(
    path: Path,
    frames: np.ndarray,
    *,
    fps: int = 10,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rotation_deg: int = 0,
    with_audio: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write `frames`, uint8 (T, H, W, 3) with even sides; players turn them clockwise by `rotation_deg`.

    `options` are the encoder's own.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=fps, options={"threads": "1", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixel_format
        stream.codec_context.thread_count = 1
        if rotation_deg:
            stream.set_display_rotation(-rotation_deg)
        audio: Any = container.add_stream("aac", rate=16000, layout="mono") if with_audio else None
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
        if audio is not None:
            silence = np.zeros((1, 16000 * len(frames) // fps), np.float32)
            sound = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


@pytest.fixture
def make_video() -> MakeVideo:
    """Return a function that writes a video file: make_video(path, frames, fps=10, codec="libx264", …) -> path."""
    return _write_video


@pytest.fixture
def make_clip(make_video: MakeVideo) -> MakeVideo:
    """Return a function that writes a tiny video whose bytes depend on a number: make_clip(path, shade, …) -> path."""

    def make(path: Path, shade: int = 0, *, num_frames: int = 4, **settings: object) -> Path:
        frames = np.zeros((num_frames, 16, 16, 3), np.uint8)
        frames[:, :, : shade % 15 + 1] = 40 + shade // 15
        return make_video(path, frames, **settings)

    return make


def _run_here(work: Callable[[Any], Any], items: Iterable[Any], **_: object) -> Iterator[Outcome]:
    for item in items:
        try:
            yield Outcome(item, work(item), "", "", 1)
        except BadItem as error:
            yield Outcome(item, None, error.reason, error.message, 1)


@pytest.fixture
def without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stages do the work of `run_each` in this process: to start others takes longer than most tests' items."""
    for module in ("tree", "skeletons"):
        monkeypatch.setattr(f"actrec.store.{module}.run_each", _run_here)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[Any, str]]:
    """Return a function that runs a line as a shell would, in this process: exit code and standard error."""
    from actrec import cli, console

    monkeypatch.setattr(console, "_debug", False)
    monkeypatch.setenv("COLUMNS", "200")  # so that no message is broken
    monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", False)  # no colours, also where a CI asks for them

    def run(line: str) -> tuple[Any, str]:
        program, *arguments = shlex.split(line)
        stage = import_module(arguments[1]) if program == "python" else None
        monkeypatch.setattr(sys, "argv", [program, *(arguments[2:] if stage else arguments)])
        with pytest.raises(SystemExit) as caught:
            console.run(stage.main) if stage else cli.main()
        return caught.value.code, capsys.readouterr().err

    return run
