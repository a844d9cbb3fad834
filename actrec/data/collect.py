"""From checked rows and inspected files to the manifest."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.data.checks import check_labels, check_samples, check_splits_filled, differing_samples
from actrec.data.manifest import SPLITS, Clip, Manifest, Media, Split, classes_of
from actrec.data.people import box_fault
from actrec.data.problems import Kind, Problems
from actrec.data.quarantine import Quarantined
from actrec.data.rows import Row
from actrec.data.skeleton_index import SkeletonEntry
from actrec.data.splits import Candidate, assign_splits
from actrec.media.facts import MediaFacts
from actrec.words import counted

STAGE = "ingest"
_MAX_JOINED = 3
_NO_MEDIA = MediaFacts("", "", "", 0, 0, 0, 0.0, 0, 0.0, "", 0, 0)
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
class Sound:
    """The file that a clip's sound is in; `path` is relative to the data root."""

    path: str
    file: Inspected


@dataclass(frozen=True, slots=True)
class Usable:
    """A row whose file can be used; `sound` None: nothing is to be heard; `skeleton` None: nobody is known to be seen.

    What is nothing but a skeleton is its own file. `sound_fault` is the reason why its sound cannot be used.
    """

    row: Row
    file: Inspected
    facts: MediaFacts
    sound: Sound | None
    skeleton: SkeletonEntry | None
    sound_fault: str = ""


def silent(files: Mapping[str, Inspected]) -> list[str]:
    """Return the paths of the files that could be read and have no sound track."""
    return [path for path, file in files.items() if file.facts and not file.facts.has_audio]


def set_aside(
    rows: Sequence[Row],
    files: Mapping[str, Inspected],
    beside: Mapping[str, Sound],
    skeletons: Mapping[str, SkeletonEntry],
    *,
    media: Media,
) -> tuple[list[Usable], list[Quarantined]]:
    """Return the rows that can be used, and what is to be said of the files that cannot.

    A sound file that cannot be used costs its clip the sound, and the clip itself only where `media` is sound.

    Args:
        rows: Checked rows.
        files: By each row's path.
        beside: The sound files beside silent ones, by the row's path.
        skeletons: By clip id, of those that have one.
        media: What each clip must have.
    """
    usable, bad = [], []
    for row in rows:
        file = files[row.path]
        facts = file.facts
        if facts is None:
            bad.append(Quarantined(row.clip_id, STAGE, file.reason, row.path, file.message, file.attempts))
        elif fault := _fault(row, facts, media):
            bad.append(fault)
        else:
            sound = Sound(row.path, file) if facts.has_audio else beside.get(row.path)
            broken = _fault_of_sound(row, sound, media)
            bad += [broken] if broken else []
            if not broken:
                usable.append(Usable(row, file, facts, sound, skeletons.get(row.clip_id)))
            elif media != "sound":
                usable.append(Usable(row, file, facts, None, skeletons.get(row.clip_id), broken.reason))
    return usable, bad


def set_aside_skeletons(
    rows: Sequence[Row], skeletons: Mapping[str, SkeletonEntry]
) -> tuple[list[Usable], list[Quarantined]]:
    """Return the rows that are nothing but skeletons and have one, and what is to be said of the others.

    Args:
        rows: Checked rows.
        skeletons: By clip id, of those that have one.
    """
    usable, bad = [], []
    for row in rows:
        skeleton = skeletons.get(row.clip_id)
        if skeleton is None:
            message = "data.skeletons has none of this name"
            bad.append(Quarantined(row.clip_id, STAGE, "no_skeleton", row.path, message))
        elif skeleton.reason:
            bad.append(Quarantined(row.clip_id, STAGE, skeleton.reason, skeleton.path, skeleton.message))
        else:
            file = Inspected(skeleton.sha256, skeleton.size_bytes, _NO_MEDIA)
            usable.append(Usable(row, file, _NO_MEDIA, None, skeleton))
    return usable, bad


def _fault(row: Row, facts: MediaFacts, media: Media) -> Quarantined | None:
    if facts.is_still != (media == "image"):
        reason = "no_video" if facts.is_still else "no_image"
        return Quarantined(row.clip_id, STAGE, reason, row.path, f"a {facts.kind} ({facts.container})")
    if facts.duration_s and (row.start_s or 0) >= facts.duration_s:
        message = f"starts at {row.start_s:g} s, the file ends at {facts.duration_s:g} s"
        return Quarantined(row.clip_id, STAGE, "too_short", row.path, message)
    if media == "video" and not facts.has_video:
        return Quarantined(row.clip_id, STAGE, "no_video", row.path, "the file has sound alone")
    return _fault_of_people(row, facts)


def _fault_of_people(row: Row, facts: MediaFacts) -> Quarantined | None:
    if row.people is None:
        return None
    if row.start_s is None and not facts.is_still:
        return Quarantined(row.clip_id, STAGE, "no_time", row.path, "no start_s says when in the video the boxes hold")
    width_px, height_px = facts.upright_px
    for box in row.people.boxes:
        if fault := box_fault(box, width_px=width_px, height_px=height_px, wraps=row.people.wraps):
            return Quarantined(row.clip_id, STAGE, fault[0], row.path, fault[1])
    if len(set(row.people.boxes)) == 1:
        return Quarantined(row.clip_id, STAGE, "same_person", row.path, f"both boxes are {row.people.boxes[0]}")
    return None


def _fault_of_sound(row: Row, sound: Sound | None, media: Media) -> Quarantined | None:
    if sound is None:
        message = "the file has no sound track, and no sound file is beside it"
        return Quarantined(row.clip_id, STAGE, "no_audio", row.path, message) if media == "sound" else None
    file = sound.file
    if file.facts is None:
        return Quarantined(row.clip_id, STAGE, file.reason, sound.path, file.message, file.attempts)
    if not file.facts.has_audio:
        return Quarantined(row.clip_id, STAGE, "no_audio", sound.path, "the file has no sound track")
    return None


def make_manifest(
    usable: Sequence[Usable],
    *,
    rows: Sequence[Row],
    heads: Sequence[str],
    multi_label: Collection[str],
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
        multi_label: Those whose clips may have several classes.
        train_frac: The share of train among rows without a split.
        val_frac: That of val.
        test_frac: That of test.
        seed: Orders groups of equal size.
        problems: Receives classes and splits that are left without clips, and samples that cannot be scored.

    Raises:
        UserError: if there are such.
    """
    classes = {row.clip_id: classes_of(row.labels, multi_label) for row in rows}
    candidates = [
        Candidate(row.clip_id, classes[row.clip_id], row.group, u.file.sha256, row.split, row.sample)
        for u in usable
        for row in [u.row]
    ]
    splits, note = assign_splits(candidates, train_frac=train_frac, val_frac=val_frac, test_frac=test_frac, seed=seed)
    left = {label for candidate in candidates for label in candidate.classes}
    for head, name in sorted({label for own in classes.values() for label in own} - left):
        problems.add(LOST_CLASS, f"{head} '{name}'")
    check_labels({u.row.where: (splits[u.row.clip_id], classes[u.row.clip_id]) for u in usable}, problems)
    groups = {candidate.group for candidate in candidates}
    check_splits_filled(
        set(splits.values()), test_frac=test_frac, problems=problems, groups=[] if "" in groups else sorted(groups)
    )
    clips = sorted((_clip(u, splits[u.row.clip_id]) for u in usable), key=lambda clip: clip.clip_id)
    check_samples(clips, problems)
    problems.stop_if_any()
    return Manifest(tuple(clips), tuple(heads), frozenset(multi_label)), note


def _clip(usable: Usable, split: Split) -> Clip:
    row, file, sound, skeleton = usable.row, usable.file, usable.sound, usable.skeleton
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
        sample=row.sample,
        sound_path=sound.path if sound else "",
        sound_sha256=sound.file.sha256 if sound else "",
        sound_fault=usable.sound_fault,
        skeleton_path=skeleton.path if skeleton else "",
        skeleton_name=skeleton.name if skeleton else "",
        skeleton_sha256=skeleton.file_sha256 if skeleton else "",
        people=row.people,
    )


def warnings(manifest: Manifest) -> list[str]:
    """Return what makes scores mean less than they seem to: a line for each such thing."""
    found = []
    if not any(clip.group for clip in manifest.clips):
        found.append("no clip has a group: takes of the same person or place may be in train and test alike")
    joined, odd_samples = _joined_groups(manifest), differing_samples(manifest.of_split("train"))
    for first, second in joined[:_MAX_JOINED]:
        paths = " and ".join(dict.fromkeys((first.path, second.path)))
        found.append(f"groups {first.group} and {second.group} stay together, for both have the same file: {paths}")
    if len(joined) > _MAX_JOINED:
        found.append(f"{counted(len(joined) - _MAX_JOINED, 'more pair')} of groups stay together for such files")
    for head in manifest.heads:
        if head not in manifest.multi_label and len(manifest.classes[head]) == 1:
            found.append(f"{head} has one class, {manifest.classes[head][0]}: there is nothing to tell apart")
        if both := _differing_copies(manifest, head):
            paths = " and ".join(both)
            found.append(f"the same file has two labels for {head}: {paths}")
        unlabelled = sum(head not in clip.labels for clip in manifest.clips)
        if unlabelled:
            found.append(f"{counted(unlabelled, 'clip')} without a label for {head}: counted for the other heads alone")
        for split in SPLITS[1:]:
            clips = manifest.of_split(split)
            present = {name for clip in clips for name in manifest.labels_of(clip, head)}
            if clips and (absent := [name for name in manifest.classes[head] if name not in present]):
                found.append(
                    f"{split} has no clip of {len(absent)} of the classes of {head}: {_few(absent)}. They have no "
                    "score there: add clips of them from a group of their own, or merge them with other classes"
                )
        if differing := [sample for name, sample in odd_samples if name == head]:
            found.append(
                f"{counted(len(differing), 'sample')} of train with clips of different labels for {head}, which "
                f"therefore cannot be scored by sample: {_few(differing)}"
            )
    return found


def _few(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"


def _joined_groups(manifest: Manifest) -> list[tuple[Clip, Clip]]:
    """Return pairs of clips with the same bytes and different groups, one for each two groups."""
    first: dict[str, Clip] = {}
    found: dict[tuple[str, str], tuple[Clip, Clip]] = {}
    for clip in manifest.clips:
        other = first.setdefault(clip.sha256, clip)
        if clip.group and other.group and clip.group != other.group:
            found.setdefault((other.group, clip.group), (other, clip))
    return list(found.values())


def _differing_copies(manifest: Manifest, head: str) -> tuple[str, str] | None:
    """Return two files with the same bytes whose clips are all of them and have different labels, if there are such."""
    first: dict[str, Clip] = {}
    for clip in manifest.clips:
        is_whole = clip.start_s is None and clip.people is None and head in clip.labels
        other = first.setdefault(clip.sha256, clip) if is_whole else clip
        if other is not clip and other.labels[head] != clip.labels[head]:
            return other.path, clip.path
    return None


def summary(manifest: Manifest, *, num_bad: int, listed_in: Path) -> str:
    """Return what the user should check at a glance: counts by split and class, and groups that are in two splits."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for clip in manifest.clips:
        if clip.group:
            splits_of[clip.group].add(clip.split)
    parted = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
    sizes = ", ".join(f"{split} {len(manifest.of_split(split))}" for split in SPLITS)
    classes = ", ".join(f"{len(names)} of {head}" for head, names in manifest.classes.items())
    named = f" ({_few(parted)})" if parted else ""
    num_samples = len({clip.sample for clip in manifest.clips if clip.sample})
    samples = f" of {counted(num_samples, 'sample')}" if num_samples else ""
    sounding = sum(bool(clip.sound_path) for clip in manifest.clips)
    shown = sum(bool(clip.skeleton_path) for clip in manifest.clips)
    skeletons = f", {shown} with a skeleton" if shown else ""
    return (
        f"{counted(len(manifest.clips), 'clip')}{samples} ({sizes}), {sounding} with sound{skeletons}, classes: "
        f"{classes}; {counted(len(splits_of), 'group')}, {len(parted)} of them in two splits{named}; "
        f"{counted(num_bad, 'bad file')}{f', listed in {listed_in}' if num_bad else ''}"
    )
