"""The list of what could not be used, and why."""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Quarantined:
    """One clip that a stage set aside.

    `reason` is a code: not_media, playlist, empty, no_video, unreadable, truncated, frame_mismatch, too_short,
    decoder_error, decoder_crash, decoder_timeout, out_of_memory. `message` is the decoder's own, shortened.
    """

    clip_id: str
    stage: str
    reason: str
    path: str
    message: str
    attempts: int = 1


def dump(items: Iterable[Quarantined]) -> str:
    """Return the list as CSV text, sorted; the header alone if nothing was set aside."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f.name for f in fields(Quarantined)])
    writer.writerows(astuple(item) for item in sorted(items))
    return out.getvalue()


def load(path: Path | str) -> list[Quarantined]:
    """Return what `dump` wrote to `path`."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [Quarantined(**{**row, "attempts": int(row["attempts"])}) for row in csv.DictReader(file)]
