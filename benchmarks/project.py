"""Folders in which stages can run: a data set of generated clips, and the params.yaml for it."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from actrec.data.manifest import Clip, Split
from actrec.media.facts import MediaFacts
from benchmarks.clips import multiply
from benchmarks.processes import ROOT

DATA = Path("data/raw/bench")
_READER = {"file": "clips.csv", "path": "path", "heads": {"action": "action"}, "group": None, "split": "split"}


def write_params(folder: Path, **frames: Any) -> None:
    """Write the demo's params.yaml for the data set at DATA, without the demo, and with these settings of frames."""
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "recipes" / "demo.yaml")
    params["data"] |= {"name": "bench", "root": str(DATA), "reader": params["data"]["reader"] | _READER}
    params["demo"]["enabled"] = False
    params["frames"] |= frames
    YAML(typ="safe", pure=True).dump(params, folder / "params.yaml")


def write_clips(folder: Path, sources: Sequence[Path], numbers: range) -> None:
    """Make the data set exactly the clips with these numbers, writing those that are not there."""
    data = folder / DATA
    if missing := [n for n in numbers if not (data / f"clip{n:05d}.mp4").exists()]:
        multiply(sources, data, range(missing[0], missing[-1] + 1))
    splits = ("train", "train", "val", "test")
    rows = [f"clip{n:05d}.mp4,{'ab'[n // 4 % 2]},{splits[n % 4]}" for n in numbers]
    (data / "clips.csv").write_text("\n".join(["path,action,split", *rows]) + "\n")


def manifest_row(clip_id: str, split: Split, label: str) -> Clip:
    """Return the row of a clip of which no file is there."""
    facts = MediaFacts("mp4", "h264", "yuv420p", 64, 64, 0, 30.0, 30, 1.0, "", 0, 0)
    return Clip(clip_id, f"{clip_id}.mp4", split, "", {"action": label}, None, None, "", 0, facts)


def forget_results(folder: Path, store: Path) -> None:
    """Remove what the frames stage has made, so that it works from the beginning."""
    shutil.rmtree(folder / "data" / "processed", ignore_errors=True)
    shutil.rmtree(store / "frames", ignore_errors=True)


def clone(folder: Path) -> None:
    """Make `folder` a clone of this checkout, with what has not been committed yet."""
    _git("clone", "--quiet", "--shared", str(ROOT), str(folder))
    for name in _git("-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z").split("\0"):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout
