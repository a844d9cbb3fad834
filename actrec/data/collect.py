"""From checked rows and inspected files to the manifest."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actrec.data.checks import check_labels, check_splits_filled
from actrec.data.manifest import SPLITS, Clip, Manifest, Split
from actrec.data.problems import Kind, Problems
from actrec.data.quarantine import Quarantined
from actrec.data.rows import Row
from actrec.data.splits import Sample, assign_splits
from actrec.media.facts import MediaFacts

STAGE = "ingest"
LOST_CLASS = Kind("a class of which no file can be used", "Mend its files, or remove its rows.")


@dataclass(frozen=True, slots=True)
class Inspected:
    """A file's bytes, and what its header says; or `facts` None, with the reason code and message why not."""

    sha256: str
    size_bytes: int
    facts: MediaFacts | None
    reason: str = ""
    message: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Usable:
    """A row whose file can be used."""

    row: Row
    file: Inspected
    facts: MediaFacts


def set_aside(rows: Sequence[Row], files: Mapping[str, Inspected]) -> tuple[list[Usable], list[Quarantined]]:
    """Return the rows that can be used, and what is to be said of the others.

    Args:
        rows: Checked rows.
        files: By each row's path.
    """
    usable, bad = [], []
    for row in rows:
        file = files[row.path]
        facts = file.facts
        if facts is None:
            bad.append(Quarantined(row.clip_id, STAGE, file.reason, row.path, file.message, file.attempts))
        elif facts.duration_s and (row.start_s or 0) >= facts.duration_s:
            message = f"starts at {row.start_s:g} s, the file ends at {facts.duration_s:g} s"
            bad.append(Quarantined(row.clip_id, STAGE, "too_short", row.path, message))
        else:
            usable.append(Usable(row, file, facts))
    return usable, bad


def make_manifest(
    usable: Sequence[Usable],
    *,
    rows: Sequence[Row],
    heads: Sequence[str],
    train_frac: float,
    val_frac: float,
    test_frac: float,
    seed: int,
    problems: Problems,
) -> tuple[Manifest, str]:
    """Return the manifest, and a note on how it was split, "" if there is nothing to say.

    What was set aside has no part in the splits: one more bad file changes no byte of the manifest.

    Args:
        usable: What goes in.
        rows: All rows, also those set aside.
        heads: The heads, in the order of the label columns.
        train_frac: The share of train among rows without a split.
        val_frac: That of val.
        test_frac: That of test.
        seed: Orders groups of equal size.
        problems: Receives classes and splits that are left without clips.

    Raises:
        UserError: if there are such.
    """
    samples = [Sample(u.row.clip_id, u.row.labels, u.row.group, u.file.sha256, u.row.split) for u in usable]
    splits, note = assign_splits(samples, train_frac=train_frac, val_frac=val_frac, test_frac=test_frac, seed=seed)
    left = {label for u in usable for label in u.row.labels.items()}
    for head, name in sorted({label for row in rows for label in row.labels.items()} - left):
        problems.add(LOST_CLASS, f"{head} '{name}'")
    check_labels({u.row.where: (splits[u.row.clip_id], u.row.labels) for u in usable}, problems)
    check_splits_filled(set(splits.values()), test_frac=test_frac, problems=problems)
    problems.stop_if_any()
    clips = sorted((_clip(u, splits[u.row.clip_id]) for u in usable), key=lambda clip: clip.clip_id)
    return Manifest(tuple(clips), tuple(heads)), note


def _clip(usable: Usable, split: Split) -> Clip:
    row, file = usable.row, usable.file
    return Clip(
        clip_id=row.clip_id,
        path=row.path,
        split=split,
        group=row.group,
        labels=row.labels,
        start_s=row.start_s,
        end_s=row.end_s,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        facts=usable.facts,
    )


def warnings(manifest: Manifest) -> list[str]:
    """Return what makes scores mean less than they seem to: a line for each such thing."""
    found = []
    if not any(clip.group for clip in manifest.clips):
        found.append("no clip has a group: takes of the same person or place may be in train and test alike")
    for head in manifest.heads:
        unlabelled = sum(head not in clip.labels for clip in manifest.clips)
        if unlabelled:
            found.append(f"{unlabelled} clips have no label for {head}; they count for the other heads alone")
        for split in SPLITS[1:]:
            present = {clip.labels[head] for clip in manifest.of_split(split) if head in clip.labels}
            if absent := [name for name in manifest.classes[head] if name not in present]:
                names = f"{', '.join(absent[:5])}{' …' if len(absent) > 5 else ''}"
                found.append(f"{split} has no clip of {len(absent)} classes of {head}: {names}")
    return found


def summary(manifest: Manifest, *, num_bad: int) -> str:
    """Return what the user should check at a glance: counts by split and class, and groups that are in two splits."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for clip in manifest.clips:
        if clip.group:
            splits_of[clip.group].add(clip.split)
    parted = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
    sizes = ", ".join(f"{split} {len(manifest.of_split(split))}" for split in SPLITS)
    classes = ", ".join(f"{len(names)} of {head}" for head, names in manifest.classes.items())
    named = f" ({', '.join(parted[:5])})" if parted else ""
    return (
        f"{len(manifest.clips)} clips ({sizes}), classes: {classes}; {len(splits_of)} groups, "
        f"{len(parted)} of them in two splits{named}; {num_bad} bad files"
    )
