"""Batches, from clip tensors or from cached tokens: the loop cannot tell the difference."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from actrec.data.manifest import Clip
from actrec.errors import UserError
from actrec.media.clip import ClipFolder
from actrec.store.features import CachedFeatures
from actrec.training.randomness import derive, generator
from actrec.training.views import plain_view, random_view

Batch = dict[str, Any]
NO_LABEL = -1


class Source(Protocol):
    """Some clips of one split, by row."""

    clips: Sequence[Clip]
    labels: dict[str, torch.Tensor]
    # Whether making a batch costs enough to be done ahead, in other processes.
    is_slow: bool

    def __len__(self) -> int: ...

    def training_batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return a random view of each row."""
        ...

    def plain_batch(self, rows: np.ndarray) -> Batch:
        """Return all plain views of each row, and their number under `views`: row-major, views inside."""
        ...


def label_tensors(clips: Sequence[Clip], classes: Mapping[str, Sequence[str]]) -> dict[str, torch.Tensor]:
    """Return class numbers int64 (n,) a head; NO_LABEL where a clip has none."""
    numbers = {head: {name: i for i, name in enumerate(names)} for head, names in classes.items()}
    return {
        head: torch.tensor([known.get(clip.labels.get(head, ""), NO_LABEL) for clip in clips])
        for head, known in numbers.items()
    }


class LiveClips:
    """Clips from the frames stage, cropped and mirrored on the fly.

    Args:
        clips: The rows.
        folder: Holds their tensors.
        labels: See `label_tensors`.
        input_px: What the backbone takes.
        augment: min_area_frac and flip_prob, see `random_view`.
        seed: Of the random views.
    """

    is_slow = True

    def __init__(
        self,
        clips: Sequence[Clip],
        folder: ClipFolder,
        labels: dict[str, torch.Tensor],
        *,
        input_px: int,
        augment: Mapping[str, float],
        seed: int,
    ) -> None:
        self.clips, self.labels = clips, labels
        self._folder, self._input_px, self._augment, self._seed = folder, input_px, dict(augment), seed

    def __len__(self) -> int:
        return len(self.clips)

    def training_batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return `rgb` uint8 (B, T, S, S, 3) and `labels`."""
        return {"rgb": torch.stack([self._random(int(row), epoch) for row in rows]), "labels": _at(self.labels, rows)}

    def plain_batch(self, rows: np.ndarray) -> Batch:
        """Return `rgb` uint8 (B * views, T, S, S, 3), `views` and `labels` (B,)."""
        clips = torch.stack(
            [plain_view(self._folder[self.clips[row].clip_id], input_px=self._input_px) for row in rows]
        )
        return {"rgb": clips.flatten(0, 1), "views": clips.shape[1], "labels": _at(self.labels, rows)}

    def _random(self, row: int, epoch: int) -> torch.Tensor:
        clip_id = self.clips[row].clip_id
        rng = generator(self._seed, "view", epoch, clip_id)
        stored = self._folder[clip_id]
        return random_view(stored[rng.integers(len(stored))], rng, input_px=self._input_px, **self._augment)


class CachedTokens:
    """Clips whose backbone outputs were cached, all in memory.

    A training batch takes one of the cached views of each clip by chance: random ones and the plain one alike.
    """

    is_slow = False

    def __init__(
        self, clips: Sequence[Clip], features: CachedFeatures, labels: dict[str, torch.Tensor], *, seed: int
    ) -> None:
        ids = [clip.clip_id for clip in clips]
        self.clips, self.labels, self._seed = clips, labels, seed
        plain = {m: torch.from_numpy(features.plain(m, ids)) for m in features.modalities}
        self._num_plain = next(iter(plain.values())).shape[1]
        # {modality: (clips, views, N, D)}, the plain ones first
        self._views = {m: torch.cat([v, torch.from_numpy(features.augmented(m, ids))], dim=1) for m, v in plain.items()}

    def __len__(self) -> int:
        return len(self.clips)

    def training_batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return `tokens` {modality: (B, N, D)} and `labels`."""
        chance = np.random.default_rng(derive(self._seed, "view", epoch)).random(len(self.clips))[rows]
        clips, chance = torch.from_numpy(rows), torch.from_numpy(chance)
        tokens = {m: views[clips, (chance * views.shape[1]).long()] for m, views in self._views.items()}
        return {"tokens": tokens, "labels": _at(self.labels, rows)}

    def plain_batch(self, rows: np.ndarray) -> Batch:
        """Return `tokens` {modality: (B * views, N, D)}, `views` and `labels` (B,)."""
        clips = torch.from_numpy(rows)
        tokens = {m: views[clips, : self._num_plain].flatten(0, 1) for m, views in self._views.items()}
        return {"tokens": tokens, "views": self._num_plain, "labels": _at(self.labels, rows)}


def _at(labels: dict[str, torch.Tensor], rows: np.ndarray) -> dict[str, torch.Tensor]:
    index = torch.from_numpy(rows)
    return {head: values[index] for head, values in labels.items()}


@dataclass(frozen=True, slots=True)
class _Request:
    kind: Literal["training", "plain"]
    rows: np.ndarray
    epoch: int


class Batches(Dataset):
    """Makes the batches of a plan, ahead of time in other processes where that pays.

    One loader serves all epochs: what a batch is stands in the request, not in the state of a worker.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._plan: list[_Request] = []
        workers = _loader_workers() if source.is_slow else 0
        self._loader: Any = source.is_slow and DataLoader(
            self,
            batch_size=None,
            sampler=_Plan(self),
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def training(self, order: np.ndarray, *, batch_size: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield random views in `order`, from batch number `first` on; the last batch may be smaller."""
        chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)][first:]
        return self._run([_Request("training", chunk, epoch) for chunk in chunks])

    def plain(self, *, batch_size: int) -> Iterator[Batch]:
        """Yield all rows in order, plain views."""
        rows = np.arange(len(self._source))
        chunks = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        return self._run([_Request("plain", chunk, 0) for chunk in chunks])

    def _run(self, plan: list[_Request]) -> Iterator[Batch]:
        if not self._loader:
            return (self[request] for request in plan)
        self._plan = plan
        return iter(self._loader)

    def __getitem__(self, request: _Request) -> Batch:
        if request.kind == "training":
            return self._source.training_batch(request.rows, request.epoch)
        return self._source.plain_batch(request.rows)


class _Plan:
    """What the loader asks for next: the current plan of its `Batches`."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[_Request]:
        return iter(self._batches._plan)

    def __len__(self) -> int:
        return len(self._batches._plan)


def _loader_workers() -> int:
    """Return how many processes prepare batches: $ACTREC_LOADER_WORKERS, else half the processors above two.

    Raises:
        UserError: if the variable is not a number.
    """
    chosen = os.environ.get("ACTREC_LOADER_WORKERS", "")
    if not chosen:
        return min(8, max((os.cpu_count() or 1) - 2, 0) // 2)
    if not chosen.isdigit():
        raise UserError(f"ACTREC_LOADER_WORKERS is '{chosen}', expected a number of processes such as 2; 0 is none")
    return int(chosen)
