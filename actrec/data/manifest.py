"""The manifest: a row a clip, the one table from which every later stage works."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from actrec.cells import csv_text, read_csv
from actrec.data.people import People
from actrec.errors import UserError
from actrec.media.facts import MediaFacts

Split = Literal["train", "val", "test"]
Media = Literal["video", "image", "sound", "skeleton"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
LABEL_PREFIX, LABELS_PREFIX = "label:", "labels:"
_BETWEEN_NAMES = "|"


@dataclass(frozen=True, slots=True)
class Clip:
    """What one label describes: a media file, or the part of it in [start_s, end_s); a picture is one of one frame.

    `path` is relative to the data root, with forward slashes. `start_s` and `end_s` are None for the whole file.
    `group` is who or where was filmed: "" if unknown. `labels` maps head to class name; a head may be missing. Of a
    head whose clips may have several classes it is all their names, see `join_names`.

    `sample` is what several clips show alike, so that evaluation averages them: "" if the clip stands alone.
    `sound_path` is where its sound is, relative to the data root: `path` itself, or a file beside it; "" if there is
    none. `sound_sha256` is that file's. `sound_fault` is the reason why the file beside it is not used, "" if that is
    not so.
    `skeleton_path` is the file that its skeleton is in, relative to the data root, and `skeleton_name` its name there;
    "" if there is none. `skeleton_sha256` is that file's. A clip that is nothing but a skeleton has empty `facts`, and
    `path`, `sha256` and `size_bytes` are those of the skeleton: two that are the same have equal ones.
    `people` are those whom the clip is about, None for all who are in it.
    """

    clip_id: str
    path: str
    split: Split
    group: str
    labels: dict[str, str]
    start_s: float | None
    end_s: float | None
    sha256: str
    size_bytes: int
    facts: MediaFacts
    sample: str = ""
    sound_path: str = ""
    sound_sha256: str = ""
    sound_fault: str = ""
    skeleton_path: str = ""
    skeleton_name: str = ""
    skeleton_sha256: str = ""
    people: People | None = None

    @property
    def duration_s(self) -> float:
        """How long the clip is, of the file or of its part; 0 where the file does not say and the part has no end."""
        whole_s = self.facts.duration_s
        end_s = whole_s if self.end_s is None else min(self.end_s, whole_s or self.end_s)
        return max(end_s - (self.start_s or 0.0), 0.0)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All clips, sorted by id, and the classes of each head in the order of their numbers.

    `multi_label` names the heads whose clips may have several classes.
    """

    clips: tuple[Clip, ...]
    heads: tuple[str, ...]
    multi_label: frozenset[str] = frozenset()
    classes: dict[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        seen = {head: {name for clip in self.clips for name in self.labels_of(clip, head)} for head in self.heads}
        object.__setattr__(self, "classes", {head: tuple(sorted(seen[head], key=natural_key)) for head in self.heads})

    def labels_of(self, clip: Clip, head: str) -> tuple[str, ...]:
        """Return the class names of a clip: () if it has none for this head, several only of a multi-label head."""
        return names_of(clip.labels, head, self.multi_label)

    def of_split(self, split: str) -> list[Clip]:
        """Return the clips of one split, in the order of their ids."""
        return [clip for clip in self.clips if clip.split == split]

    def keep(self, clip_ids: Iterable[str]) -> "Manifest":
        """Return the manifest of these clips alone; classes keep their numbers as long as each still has a clip."""
        wanted = set(clip_ids)
        return replace(self, clips=tuple(clip for clip in self.clips if clip.clip_id in wanted))

    def lost_in(self, left: "Manifest") -> str:
        """Return in words which split, or else which classes of train, have clips here and none in `left`, "" if none.

        Args:
            left: Some of these clips.
        """
        splits = [f"the {name} split" for name in SPLITS if self.of_split(name) and not left.of_split(name)]
        if splits:
            return f"no clip of {' and '.join(splits)} is usable"
        gone = {head: sorted(self._of_train(head) - left._of_train(head), key=natural_key) for head in self.heads}
        classes = [f"{head} {', '.join(names)}" for head, names in gone.items() if names]
        return f"no usable train clip is left of {' and '.join(classes)}" if classes else ""

    def _of_train(self, head: str) -> set[str]:
        return {name for clip in self.of_split("train") for name in self.labels_of(clip, head)}


def names_of(labels: Mapping[str, str], head: str, multi_label: Collection[str]) -> tuple[str, ...]:
    """Return the class names that `labels` has for a head, () if none."""
    text = labels.get(head, "")
    if head in multi_label:
        return split_names(text)
    return (text,) if text else ()


def classes_of(labels: Mapping[str, str], multi_label: Collection[str]) -> list[tuple[str, str]]:
    """Return every (head, class name) that `labels` has."""
    return [(head, name) for head in labels for name in names_of(labels, head, multi_label)]


def join_names(names: Iterable[str]) -> str:
    """Return several class names as one text: sorted, each once, with | between them. No name may have a | in it."""
    return _BETWEEN_NAMES.join(sorted(set(names)))


def split_names(text: str) -> tuple[str, ...]:
    """Return the names that `join_names` joined; () of an empty text."""
    return tuple(text.split(_BETWEEN_NAMES)) if text else ()


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which class 2 comes before class 10; no two names have the same one."""
    parts = [(1, int(part), "") if part.isdecimal() else (2, 0, part) for part in re.split(r"(\d+)", name) if part]
    return [*parts, (0, 0, name)]  # 1 and 01 are one number


_CLIP_COLUMNS = (
    *("clip_id", "path", "split", "group", "sample", "start_s", "end_s", "sha256", "size_bytes"),
    *("sound_path", "sound_sha256", "sound_fault", "skeleton_path", "skeleton_name", "skeleton_sha256"),
)
# Of plain types alone, each of which reads its own text.
_FACT_TYPES: dict[str, Any] = {f.name: f.type for f in fields(MediaFacts)}


def dump(manifest: Manifest) -> str:
    """Return the manifest as CSV text; the same clips give the same bytes."""
    prefixes = [LABELS_PREFIX if head in manifest.multi_label else LABEL_PREFIX for head in manifest.heads]
    names = [prefix + head for prefix, head in zip(prefixes, manifest.heads, strict=True)]
    header = (*_CLIP_COLUMNS, "people", *names, *_FACT_TYPES)
    return csv_text(header, (_cells(clip, manifest.heads) for clip in manifest.clips))


def _cells(clip: Clip, heads: Iterable[str]) -> list[Any]:
    labels = [clip.labels.get(head, "") for head in heads]
    people = clip.people.dump() if clip.people else ""
    facts = [getattr(clip.facts, name) for name in _FACT_TYPES]
    return [*(getattr(clip, name) for name in _CLIP_COLUMNS), people, *labels, *facts]


def load_manifest(path: Path | str) -> Manifest:
    """Return the manifest that `ingest` wrote.

    Raises:
        UserError: if there is none at `path`, or an earlier version wrote it.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = read_csv(file)
    except FileNotFoundError:
        raise UserError(f"{path}: no manifest yet. Make it: dvc repro ingest") from None
    header, *body = rows or [[]]
    if missing := [name for name in (*_CLIP_COLUMNS, "people", *_FACT_TYPES) if name not in header]:
        raise UserError(f"{path}: of an earlier version, without {', '.join(missing)}. Make it again: dvc repro ingest")
    columns = {name.partition(":")[2]: name for name in header if name.startswith((LABEL_PREFIX, LABELS_PREFIX))}
    clips = tuple(_parse(dict(zip(header, row, strict=True)), columns) for row in body)
    multi_label = frozenset(head for head, name in columns.items() if name.startswith(LABELS_PREFIX))
    return Manifest(clips, tuple(columns), multi_label)


def _parse(row: dict[str, str], label_columns: Mapping[str, str]) -> Clip:
    split = row["split"]
    if split not in SPLITS:
        raise ValueError(f"{row['clip_id']}: split is {split!r}, not one of {SPLITS}")
    return Clip(
        clip_id=row["clip_id"],
        path=row["path"],
        split=split,
        group=row["group"],
        labels={head: row[column] for head, column in label_columns.items() if row[column]},
        start_s=float(row["start_s"]) if row["start_s"] else None,
        end_s=float(row["end_s"]) if row["end_s"] else None,
        sha256=row["sha256"],
        size_bytes=int(row["size_bytes"]),
        facts=MediaFacts(**{name: kind(row[name]) for name, kind in _FACT_TYPES.items()}),
        sample=row["sample"],
        sound_path=row["sound_path"],
        sound_sha256=row["sound_sha256"],
        sound_fault=row["sound_fault"],
        skeleton_path=row["skeleton_path"],
        skeleton_name=row["skeleton_name"],
        skeleton_sha256=row["skeleton_sha256"],
        people=People.parse(row["people"]),
    )
