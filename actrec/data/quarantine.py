"""The list of what could not be used, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from actrec.cells import csv_text, read_csv
from actrec.data.manifest import Manifest
from actrec.errors import UserError

_SHOWN = 5


@dataclass(frozen=True, slots=True, order=True)
class Quarantined:
    """One clip that a stage set aside, or whose sound or skeleton it cannot use; `path` is that of the file at fault.

    `reason` is a code: not_media, playlist, empty, no_video, no_image, no_audio, unreadable, truncated, too_large,
    frame_mismatch, too_short, silent, decoder_error, decoder_crash, decoder_timeout, out_of_memory; no_skeleton, and
    those of `actrec.pose`; of a pair of people unknown_person (no box says where one of them is), same_person (both
    boxes are the same), swapped_corners (the second corner is left of or above the first), empty_box (less than a pixel
    wide or high), box_outside (less than a pixel of it is in the picture, or more than a panorama), no_time (none says
    when in a video the boxes hold). `message` is the decoder's own, shortened.
    """

    clip_id: str
    stage: str
    reason: str
    path: str
    message: str
    attempts: int = 1


def dump(items: Iterable[Quarantined]) -> str:
    """Return the list as CSV text, sorted; the header alone if nothing was set aside."""
    return csv_text([f.name for f in fields(Quarantined)], (astuple(item) for item in sorted(items)))


def load(path: Path | str) -> list[Quarantined]:
    """Return what `dump` wrote to `path`.

    Raises:
        UserError: if there is none.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            _, *rows = read_csv(file)
    except FileNotFoundError:
        raise UserError(f"{path}: not there; a stage before has not run. Run: dvc repro") from None
    return [Quarantined(*texts, attempts=int(attempts)) for *texts, attempts in rows]


def _place(item: Quarantined) -> str:
    """Return the file at fault, with the clip if its name does not say which that is."""
    if item.clip_id.startswith(item.path):  # of a pair it goes on with the boxes
        return item.clip_id
    return item.path if item.clip_id in item.path else f"{item.clip_id} in {item.path}"


def check_losses(
    manifest: Manifest, bad: Sequence[Quarantined], *, max_bad_frac: float, total: int, listed_in: Path
) -> None:
    """Stop if too much was set aside for an honest result.

    Args:
        manifest: The clips before, or after, those in `bad` were taken away.
        bad: What a stage set aside.
        max_bad_frac: The largest share of `total` that may be bad.
        total: How many clips there were.
        listed_in: The file that holds the whole list.

    Raises:
        UserError: above the limit, or if a split, or a class of train, has no clip left.
    """
    if not bad:
        return
    first = "".join(f"\n  {_place(item)}: {item.reason}: {item.message}" for item in sorted(bad)[:_SHOWN])
    shown = f"{first}\n  … all {len(bad)} in {listed_in}"
    if len(bad) > max_bad_frac * total:
        raise UserError(
            f"{len(bad)} of {total} clips are unusable ({len(bad) / total:.1%}), more than data.max_bad_frac "
            f"({max_bad_frac:.1%}) allows. Mend or remove them, or raise data.max_bad_frac:{shown}"
        )
    left = manifest.keep({clip.clip_id for clip in manifest.clips} - {item.clip_id for item in bad})
    if lost := manifest.lost_in(left):
        raise UserError(f"{lost}. Mend or remove the bad ones:{shown}")
