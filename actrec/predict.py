"""What `actrec predict` does: find videos, sounds or images, run the model on them, write a table."""

from dataclasses import astuple, fields
from pathlib import Path

from actrec.cells import csv_text
from actrec.errors import UserError
from actrec.media.suffixes import IMAGE, SOUND, VIDEO, find_files

_SUFFIXES = {"videos": VIDEO, "images": IMAGE, "sounds": (*VIDEO, *SOUND)}


def predict_to_csv(source: Path, *, checkpoint: Path, window_s: float | None) -> tuple[str, int]:
    """Return predictions as CSV text, and how many rows are of bad files.

    Args:
        source: A file or a folder.
        checkpoint: A model that `train` wrote.
        window_s: See `predict_files`.

    Raises:
        UserError: if there is nothing to look at, or no model to look with.
    """
    found = find_files(source, (*VIDEO, *SOUND, *IMAGE), wanted="video, sound or image")
    from actrec.store.workers import worker_count
    from actrec.training.checkpoint import load_model
    from actrec.training.device import launch
    from actrec.training.windows import Prediction, predict_files, trained_on

    model, about = load_model(checkpoint)
    if "geometry" in about.model["backbones"] or (about.clip_spec and about.clip_spec.region == "boxes"):
        raise UserError(
            f"{checkpoint}: a model of pairs of people, which a file alone does not name. Make pictures and boxes a "
            "data set (data.reader.people), and run: dvc repro evaluate"
        )
    # What the model was not trained on is left out, unless the user has named it.
    kind = trained_on(about)
    paths = [path for path in found if path == source or path.suffix.lower() in _SUFFIXES[kind]]
    if not paths:
        kinds = " ".join(sorted({path.suffix.lower() for path in found}))
        raise UserError(f"{source}: this model was trained on {kind}, and there are none in it, only {kinds}")
    fabric = launch(device="auto", threads=worker_count(), precision="fp32")
    model.to(fabric.device)
    rows = list(predict_files(paths, model, about, window_s=window_s, device=fabric.device, workers=worker_count()))
    table = csv_text([field.name for field in fields(Prediction)], (astuple(row) for row in rows))
    return table, sum(row.status != "ok" for row in rows)
