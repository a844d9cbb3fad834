"""What `actrec predict` does: find videos or sounds, run the model on them, write a table."""

import csv
import io
from dataclasses import astuple, fields
from pathlib import Path

from actrec.errors import UserError

# By extension only to choose what to try in a folder; what a file is, its first bytes say.
_VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts"),
    *(".mts", ".m2ts", ".flv", ".wmv", ".asf", ".ogv", ".3gp", ".gif"),
)
_SOUND_SUFFIXES = (".wav", ".ogg", ".flac", ".mp3", ".m4a", ".opus")


def predict_to_csv(source: Path, *, checkpoint: Path, window_s: float | None) -> tuple[str, int]:
    """Return predictions as CSV text, and how many rows are of bad files.

    Args:
        source: A file or a folder.
        checkpoint: A model that `train` wrote.
        window_s: See `predict_videos`.

    Raises:
        UserError: if there is nothing to look at, or no model to look with.
    """
    found = find_media(source)
    from actrec.store.workers import worker_count
    from actrec.training.checkpoint import load_model
    from actrec.training.device import launch
    from actrec.training.windows import Prediction, predict_videos

    model, about = load_model(checkpoint)
    # What a model that sees cannot look at is left out, unless the user has named it.
    paths = [p for p in found if p == source or not about.clip_spec or p.suffix.lower() in _VIDEO_SUFFIXES]
    if not paths:
        raise UserError(f"{source}: no video in it, only sound, and this model was trained on pictures")
    fabric = launch(device="auto", threads=worker_count(), precision="fp32")
    model.to(fabric.device)
    rows = list(predict_videos(paths, model, about, window_s=window_s, device=fabric.device, workers=worker_count()))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(Prediction)])
    writer.writerows(["" if value is None else value for value in astuple(row)] for row in rows)
    return out.getvalue(), sum(row.status != "ok" for row in rows)


def find_media(source: Path) -> list[Path]:
    """Return the file itself, or all videos and sounds below a folder, sorted.

    Raises:
        UserError: if there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder")
    suffixes = (*_VIDEO_SUFFIXES, *_SOUND_SUFFIXES)
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not found:
        raise UserError(f"{source}: no video or sound in it; looked for {' '.join(sorted(suffixes))}")
    return found
