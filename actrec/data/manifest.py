"""The manifest: a row a clip, the one table from which every later stage works."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from actrec.errors import UserError
from actrec.media.facts import MediaFacts

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
LABEL_PREFIX = "label:"


@dataclass(frozen=True, slots=True)
class Clip:
    """What one label describes: a media file, or the part of it in [start_s, end_s).

    `path` is relative to the data root, with forward slashes. `start_s` and `end_s` are None for the whole file.
    `group` is who or where was filmed: "" if unknown. `labels` maps head to class name; a head may be missing.
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

    @property
    def duration_s(self) -> float:
        """How long the clip is: of the file, or of its part."""
        end_s = self.facts.duration_s if self.end_s is None else min(self.end_s, self.facts.duration_s)
        return end_s - (self.start_s or 0.0)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All clips, sorted by id, and the classes of each head in the order of their numbers."""

    clips: tuple[Clip, ...]
    heads: tuple[str, ...]
    classes: dict[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        seen = {head: {clip.labels[head] for clip in self.clips if head in clip.labels} for head in self.heads}
        object.__setattr__(self, "classes", {head: tuple(sorted(seen[head], key=natural_key)) for head in self.heads})

    def of_split(self, split: str) -> list[Clip]:
        """Return the clips of one split, in the order of their ids."""
        return [clip for clip in self.clips if clip.split == split]

    def keep(self, clip_ids: Iterable[str]) -> "Manifest":
        """Return the manifest of these clips alone; classes keep their numbers as long as each still has a clip."""
        wanted = set(clip_ids)
        return replace(self, clips=tuple(clip for clip in self.clips if clip.clip_id in wanted))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which class 2 comes before class 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


_CLIP_COLUMNS = ("clip_id", "path", "split", "group", "start_s", "end_s", "sha256", "size_bytes")
_FACT_COLUMNS = tuple(f.name for f in fields(MediaFacts))


def dump(manifest: Manifest) -> str:
    """Return the manifest as CSV text; the same clips give the same bytes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_CLIP_COLUMNS, *(LABEL_PREFIX + head for head in manifest.heads), *_FACT_COLUMNS])
    for clip in manifest.clips:
        own = ["" if (value := getattr(clip, name)) is None else value for name in _CLIP_COLUMNS]
        labels = [clip.labels.get(head, "") for head in manifest.heads]
        writer.writerow([*own, *labels, *(getattr(clip.facts, name) for name in _FACT_COLUMNS)])
    return out.getvalue()


def load_manifest(path: Path | str) -> Manifest:
    """Return the manifest that `ingest` wrote.

    Raises:
        UserError: if there is none at `path`.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError:
        raise UserError(f"{path}: no manifest yet. Make it: dvc repro ingest") from None
    header, *body = rows
    heads = tuple(name.removeprefix(LABEL_PREFIX) for name in header if name.startswith(LABEL_PREFIX))
    return Manifest(tuple(_parse(dict(zip(header, row, strict=True)), heads) for row in body), heads)


def _parse(row: dict[str, str], heads: Sequence[str]) -> Clip:
    split = row["split"]
    if split not in SPLITS:
        raise ValueError(f"{row['clip_id']}: split is {split!r}, not one of {SPLITS}")
    return Clip(
        clip_id=row["clip_id"],
        path=row["path"],
        split=split,
        group=row["group"],
        labels={head: row[LABEL_PREFIX + head] for head in heads if row[LABEL_PREFIX + head]},
        start_s=float(row["start_s"]) if row["start_s"] else None,
        end_s=float(row["end_s"]) if row["end_s"] else None,
        sha256=row["sha256"],
        size_bytes=int(row["size_bytes"]),
        facts=MediaFacts(
            container=row["container"],
            video_codec=row["video_codec"],
            pixel_format=row["pixel_format"],
            width_px=int(row["width_px"]),
            height_px=int(row["height_px"]),
            rotation_deg=int(row["rotation_deg"]),
            fps=float(row["fps"]),
            num_frames=int(row["num_frames"]),
            duration_s=float(row["duration_s"]),
            has_audio=row["has_audio"] == "True",
        ),
    )
