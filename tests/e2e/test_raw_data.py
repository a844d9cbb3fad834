"""The user's own clips: wherever they lie, and one of them more, less, changed or bad."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from checkout import CHECKED, Checkout


def test_raw_data_that_git_does_not_know(reproduced: Checkout, tmp_path: Path) -> None:
    """By `dvc add` under data/raw, or elsewhere by an absolute path: in the workspace, --temp, the queue, a clone."""
    elsewhere, tracked = tmp_path / "elsewhere", reproduced.folder / "data/raw/mine"
    for folder in (elsewhere, tracked):
        shutil.copytree(reproduced.folder / "data/raw/demo", folder)
    reproduced("dvc", "add", "data/raw/mine")
    assert reproduced("git", "status", "--short", "--untracked-files=all").text == "?? data/raw/mine.dvc\n"
    reproduced.set_params(data={"name": "mine", "root": "data/raw/mine"})
    assert reproduced.repro("frames").ran == ["ingest", "skeletons", "frames"]
    reproduced.commit()
    clone = reproduced.clone(tmp_path / "clone")
    clone("dvc", "checkout", "data/raw/mine.dvc")  # `dvc pull` for whoever does not share the cache
    assert clone.repro("frames").ran == []

    # Another seed of the split, so that ingest cannot come from the run-cache: it has to find the clips.
    by_path, by_dvc, queued = (
        ["-S", f"data.root={root}", "-S", f"data.split.seed={seed}", "ingest"]
        for seed, root in enumerate([elsewhere, "data/raw/mine", elsewhere], start=1)
    )
    assert reproduced.exp_run(*by_path).ran == ["ingest"]
    assert reproduced.exp_run("--temp", *by_dvc).ran == ["ingest"]
    reproduced.exp_run("--queue", *queued)
    reproduced.exp_run("--run-all")
    queue = reproduced("dvc", "queue", "status").text
    reproduced("dvc", "queue", "stop")
    assert (queue.count("Success"), queue.count("Failed")) == (1, 0), queue


class Clips:
    """A folder of clips with its table, outside the checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with (folder / "clips.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))

    def list(self, path: str) -> None:
        """Add a row for a file: the first subject, so that it goes where that one is."""
        self.rows.append({**self.rows[0], "path": path})
        self._write()

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()
        self.rows = [row for row in self.rows if row["path"] != path]
        self._write()

    def _write(self) -> None:
        with (self.folder / "clips.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, list(self.rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(self.rows)


@pytest.fixture
def clips(reproduced: Checkout, tmp_path: Path) -> Clips:
    """Return the clips of a checkout that reads those of the demo from another place."""
    shutil.copytree(reproduced.folder / "data/raw/demo", tmp_path / "clips")
    reproduced.set_params(data={"root": str(tmp_path / "clips")})
    return Clips(tmp_path / "clips")


FRAMES = "data/processed/demo/video_frames"


def test_only_what_is_new_is_decoded(reproduced: Checkout, clips: Clips, make_clip) -> None:
    first = reproduced.bytes_of(FRAMES)
    # The manifest says the same, so there is nothing more to do than to write it.
    assert reproduced.repro("frames").ran == ["ingest"]

    make_clip(clips.folder / "a.mp4", shade=1)
    clips.list("a.mp4")
    added = reproduced.repro("frames")
    assert "frames: 17 clips, 1 of them decoded now" in added.text
    assert reproduced.bytes_of(FRAMES).keys() - first.keys() == {f"{FRAMES}/a.mp4.pt"}
    with_a = reproduced.bytes_of(f"{FRAMES}/a.mp4.pt")

    make_clip(clips.folder / "a.mp4", shade=2)
    changed = reproduced.repro("frames")
    assert "frames: 17 clips, 1 of them decoded now" in changed.text
    assert reproduced.bytes_of(f"{FRAMES}/a.mp4.pt") != with_a

    clips.remove("a.mp4")
    make_clip(clips.folder / "clips/B.MP4", shade=3)
    clips.list("clips/B.MP4")
    other = reproduced.repro("frames")
    assert "frames: 17 clips, 1 of them decoded now" in other.text
    assert reproduced.bytes_of(FRAMES).keys() - first.keys() == {f"{FRAMES}/clips/B.MP4.pt"}

    clips.remove("clips/B.MP4")
    assert reproduced.repro("frames").ran == []
    assert reproduced.bytes_of(FRAMES) == first


def test_a_machine_without_the_clips_can_train(reproduced: Checkout, clips: Clips) -> None:
    """Once dvc.yaml says that nothing is to be ingested; until then nothing is lost."""
    assert reproduced.repro("train").ran == ["ingest"]
    before = reproduced.bytes_of("data", "models")
    clips.folder.rename(clips.folder.with_name("far away"))
    replace_in(reproduced.folder / "params.yaml", "\n  lr: 0.003", "\n  lr: 0.001")
    refused = reproduced("dvc", "repro", "--allow-missing", "train", status=None)
    assert refused.status != 0 and refused.started == ["check"] and "`frozen: true` below `ingest:`" in refused.text
    assert reproduced.bytes_of("data", "models").items() >= {k: v for k, v in before.items() if k != CHECKED}.items()

    replace_in(reproduced.folder / "dvc.yaml", "  ingest:\n", "  ingest:\n    frozen: true\n")
    assert reproduced.repro("train").ran == ["train"]
    assert reproduced.repro("train").ran == []


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_a_bad_clip_changes_the_quarantine_list_alone(reproduced: Checkout, clips: Clips, make_video) -> None:
    models, metrics = reproduced.bytes_of("models"), metrics_of(reproduced)
    (clips.folder / "bad.mp4").write_bytes(b"no video at all " * 100)
    clips.list("bad.mp4")
    assert reproduced.repro().ran == ["ingest", "evaluate"]
    assert reproduced.bytes_of("models") == models
    assert metrics_of(reproduced) == {**metrics, "clips": {"used": 16, "quarantined": 1}}
    assert quarantined(reproduced, "results/quarantine.csv") == [("bad.mp4", "ingest", "not_media")]

    # This one looks well from outside, and training is asked again: the answer must be the same.
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    whole = make_video(clips.folder / "cut.avi", noise, codec="mpeg4").read_bytes()
    (clips.folder / "cut.avi").write_bytes(whole[: len(whole) // 2])
    clips.list("cut.avi")
    assert reproduced.repro("train").ran == ["ingest", "skeletons", "frames", "mels", "features", "train"]
    found = quarantined(reproduced, "data/interim/demo/quarantine_frames.csv")
    assert found == [("cut.avi", "frames", "frame_mismatch")]
    assert reproduced.bytes_of("models") == models


def quarantined(checkout: Checkout, path: str) -> list[tuple[str, str, str]]:
    with (checkout.folder / path).open(newline="", encoding="utf-8") as file:
        return [(row["path"], row["stage"], row["reason"]) for row in csv.DictReader(file)]


def metrics_of(checkout: Checkout) -> dict:
    return json.loads((checkout.folder / "results/metrics.json").read_text(encoding="utf-8"))
