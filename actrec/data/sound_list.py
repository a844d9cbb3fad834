"""The list of all clips that says which have sound for the model, and why the others have none."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from actrec.cells import csv_text
from actrec.data.manifest import Manifest
from actrec.data.quarantine import Quarantined
from actrec.errors import UserError
from actrec.words import counted

OK, NO_TRACK, SILENT = "ok", "no_track", "silent"


@dataclass(frozen=True, slots=True, order=True)
class SoundStatus:
    """Whether a clip has sound for the model.

    `path` is the file that it is in, "" if none. `status` is ok, no_track or silent, which are no faults, or the reason
    code under which the sound was set aside; `message` is the decoder's own.
    """

    clip_id: str
    path: str
    status: str
    message: str


def statuses(manifest: Manifest, absent: Mapping[str, str], bad: Iterable[Quarantined]) -> list[SoundStatus]:
    """Return the status of every clip; `absent` says of those without a spectrogram why, and `bad` says more."""
    messages = {item.clip_id: item.message for item in bad}
    return [
        SoundStatus(clip.clip_id, clip.sound_path, absent.get(clip.clip_id, OK), messages.get(clip.clip_id, ""))
        for clip in manifest.clips
    ]


def dump(items: Iterable[SoundStatus]) -> str:
    """Return the list as CSV text, sorted; of none the header alone."""
    return csv_text([f.name for f in fields(SoundStatus)], (astuple(item) for item in sorted(items)))


def tally(items: Sequence[SoundStatus]) -> str:
    """Return in words how many clips have no sound for the model, and why."""
    counts = Counter(item.status for item in items)
    num_bad = len(items) - counts[OK] - counts[SILENT] - counts[NO_TRACK]
    return f"{counts[SILENT]} silent, {num_bad} set aside; {counted(counts[NO_TRACK], 'clip')} without a track"


def check_any(items: Sequence[SoundStatus], *, listed_in: Path) -> None:
    """Stop if the model would hear nothing at all.

    Raises:
        UserError: if no clip has sound.
    """
    if not any(item.status == OK for item in items):
        raise UserError(
            f"none of {len(items)} clips has sound that can be used ({tally(items)}): {listed_in}. "
            "If the recipe is to do without sound, set mels.enabled to false"
        )
