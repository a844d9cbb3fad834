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
from actrec.store.features import CachedFeatures
from actrec.training.modalities import Modality, drawn_by
from actrec.training.randomness import derive, generator

Batch = dict[str, Any]


class Source(Protocol):
    """Some clips of one split, by row."""

    clips: Sequence[Clip]
    labels: dict[str, torch.Tensor]
    # {modality: bool (clips,)}: which clips have it.
    present: dict[str, torch.Tensor]
    # Whether making a batch costs enough to be done ahead, in other processes.
    is_slow: bool

    def __len__(self) -> int: ...

    def training_batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return a random view of each row."""
        ...

    def plain_batch(self, rows: np.ndarray) -> Batch:
        """Return all plain views of each row, and their number under `views`: row-major, views inside."""
        ...


class LiveClips:
    """Clips from the stages before, with random views made on the fly.

    Args:
        clips: The rows.
        modalities: How each is read.
        labels: See `label_tensors`.
        seed: Of the random views.
    """

    is_slow = True

    def __init__(
        self,
        clips: Sequence[Clip],
        modalities: Mapping[str, Modality],
        labels: dict[str, torch.Tensor],
        *,
        seed: int,
    ) -> None:
        self.clips, self.labels = clips, labels
        self._modalities, self._seed = modalities, seed
        self.present = {
            modality: torch.tensor([clip.clip_id in reader.digests for clip in clips])
            for modality, reader in modalities.items()
        }

    def __len__(self) -> int:
        return len(self.clips)

    def training_batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return {modality: (B, …)}, `present` {modality: bool (B,)}, `rows` and `labels`.

        `rows` {modality: int64 (n,)} are those that have a modality which others of the batch lack: told here, for to
        ask a mask on a GPU means to wait for it, and nothing that is compiled can do it.
        """
        clip_ids = [self.clips[row].clip_id for row in rows]
        views = {
            modality: torch.stack([self._random(modality, reader, clip_id, epoch) for clip_id in clip_ids])
            for modality, reader in self._modalities.items()
        }
        present = _at(self.present, rows)
        incomplete = {modality: there.nonzero()[:, 0] for modality, there in present.items() if not there.all()}
        return {**views, "present": present, "rows": incomplete, "labels": _at(self.labels, rows)}

    def plain_batch(self, rows: np.ndarray) -> Batch:
        """Return {modality: (B * views, …)}, `present` {modality: bool (B * views,)}, `views` and `labels` (B,)."""
        clip_ids = [self.clips[row].clip_id for row in rows]
        views = {
            modality: torch.stack([reader.plain(i) if i in reader.digests else reader.absent() for i in clip_ids])
            for modality, reader in self._modalities.items()
        }
        return {**aligned(views, _at(self.present, rows)), "labels": _at(self.labels, rows)}

    def _random(self, modality: str, reader: Modality, clip_id: str, epoch: int) -> torch.Tensor:
        if clip_id not in reader.digests:
            return reader.absent()[0]
        return reader.random(clip_id, generator(self._seed, "view", drawn_by(modality), epoch, clip_id))


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
        self.present = {m: torch.from_numpy(features.present(m, ids)) for m in features.modalities}
        self._num_plain: dict[str, int] = {}
        self._views: dict[str, torch.Tensor] = {}  # (clips, views, N, D), the plain ones first
        for modality in features.modalities:  # one by one: each takes the memory of its features twice for a moment
            plain, random = features.plain(modality, ids), features.augmented(modality, ids)
            self._num_plain[modality] = plain.shape[1]
            self._views[modality] = torch.from_numpy(np.concatenate([plain, random], axis=1) if random.size else plain)
        self._chosen: tuple[int, dict[str, torch.Tensor]] = (-1, {})

    def __len__(self) -> int:
        return len(self.clips)

    def training_batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return `tokens` {modality: (B, N, D)}, `present` {modality: bool (B,)} and `labels`."""
        clips = torch.from_numpy(rows)
        chosen = self._chosen_in(epoch)
        tokens = {m: views.flatten(0, 1).index_select(0, chosen[m][clips]) for m, views in self._views.items()}
        return {"tokens": tokens, "present": _at(self.present, rows), "labels": _at(self.labels, rows)}

    def plain_batch(self, rows: np.ndarray) -> Batch:
        """Return `tokens` {modality: (B * views, N, D)}, `present` likewise, `views` and `labels` (B,)."""
        clips = torch.from_numpy(rows)
        views = {m: values[clips, : self._num_plain[m]] for m, values in self._views.items()}
        batch = aligned(views, _at(self.present, rows))
        tokens = {m: batch.pop(m) for m in views}
        return {"tokens": tokens, **batch, "labels": _at(self.labels, rows)}

    def _chosen_in(self, epoch: int) -> dict[str, torch.Tensor]:
        """Return which of all clips' views an epoch shows, {modality: int64 (clips,)}; drawn once an epoch."""
        if self._chosen[0] != epoch:
            self._chosen = epoch, {m: self._choose(m, views.shape[1], epoch) for m, views in self._views.items()}
        return self._chosen[1]

    def _choose(self, modality: str, num_views: int, epoch: int) -> torch.Tensor:
        chances = np.random.default_rng(derive(self._seed, "view", drawn_by(modality), epoch)).random(len(self.clips))
        return torch.from_numpy(np.arange(len(self.clips)) * num_views + (chances * num_views).astype(np.int64))


def aligned(views: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> Batch:
    """Return plain views {modality: (B, views, …)} as rows: a modality with a single view meets each of the others'."""
    count = max(values.shape[1] for values in views.values())
    rows = {m: values.expand(-1, count, *values.shape[2:]).flatten(0, 1) for m, values in views.items()}
    return {**rows, "present": {m: there.repeat_interleave(count) for m, there in present.items()}, "views": count}


def _at(of_clips: dict[str, torch.Tensor], rows: np.ndarray) -> dict[str, torch.Tensor]:
    index = torch.from_numpy(rows)
    return {name: values[index] for name, values in of_clips.items()}


@dataclass(frozen=True, slots=True)
class _Request:
    kind: Literal["training", "plain"]
    rows: np.ndarray
    epoch: int


class Batches:
    """Makes the batches of a plan, ahead of time in other processes where that pays.

    One loader serves all epochs: what a batch is stands in the request, not in the state of a worker. The loader does
    not know this object: where the two hold each other, Python closes its queues before it tells its processes to
    end, and waits five seconds for each.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._plan, self._maker = source, _Plan(), _Maker(source)
        self._loader = _loader(self._maker, self._plan) if source.is_slow else None

    def training(self, order: np.ndarray, *, batch_size: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield random views in `order`, from batch number `first` on; the last batch may be smaller."""
        chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)][first:]
        return self._run([_Request("training", chunk, epoch) for chunk in chunks])

    def plain(self, *, batch_size: int) -> Iterator[Batch]:
        """Yield all rows in order, plain views."""
        rows = np.arange(len(self._source))
        chunks = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        return self._run([_Request("plain", chunk, 0) for chunk in chunks])

    def _run(self, requests: list[_Request]) -> Iterator[Batch]:
        if self._loader is None:  # and not whether it is true, for its length is that of a plan
            return (self._maker[request] for request in requests)
        self._plan.requests = requests
        return iter(self._loader)


class _Maker(Dataset):
    """Makes one batch."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, request: _Request) -> Batch:
        if request.kind == "training":
            return self._source.training_batch(request.rows, request.epoch)
        return self._source.plain_batch(request.rows)


class _Plan:
    """What the loader asks for next."""

    def __init__(self) -> None:
        self.requests: list[_Request] = []

    def __iter__(self) -> Iterator[_Request]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)


def _loader(maker: _Maker, plan: _Plan) -> DataLoader:
    workers = _loader_workers()
    return DataLoader(
        maker,
        batch_size=None,
        sampler=plan,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


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
