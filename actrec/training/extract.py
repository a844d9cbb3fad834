"""Frozen backbones run once over every clip; what they say is kept clip by clip in the store.

A clip's features must not depend on which other clips are computed along with it, or a killed run would end with other
numbers than an undisturbed one. So every batch has the same shape: the last one is filled up.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset

from actrec.console import progress
from actrec.data.manifest import Clip
from actrec.errors import UserError
from actrec.media.clip import ClipFolder
from actrec.models.recogniser import Recogniser
from actrec.store.cas import Entry, Store, item_key
from actrec.store.closure import code_version
from actrec.store.features import write_features
from actrec.training.data import Inputs
from actrec.training.predict import to_device
from actrec.training.randomness import generator
from actrec.training.views import plain_view, random_view

_STAGE = "features"


@dataclass(frozen=True, slots=True)
class Views:
    """Which views of each clip are looked at.

    Args:
        random: How many random ones, for each of the stored clips of a video; 0 is the plain view alone.
        input_px: What the backbone takes.
        augment: See `random_view`.
        seed: Of the random ones.
    """

    random: int
    input_px: int
    augment: Mapping[str, float]
    seed: int

    def of(self, clip_id: str, stored: torch.Tensor) -> torch.Tensor:
        """Return uint8 views (views, T, S, S, 3) of a stored clip (clips_per_video, T, H, W, 3)."""
        if not self.random:
            return plain_view(stored, input_px=self.input_px)
        return torch.stack(
            [
                random_view(
                    clip, generator(self.seed, "cached view", clip_id, i, j), input_px=self.input_px, **self.augment
                )
                for i, clip in enumerate(stored)
                for j in range(self.random)
            ]
        )


def cache_features(
    path: Path,
    model: Recogniser,
    inputs: Inputs,
    *,
    identity: Mapping[str, Any],
    views: int,
    augment: Mapping[str, float],
    precision: str,
    batch_size: int,
    input_px: int,
    seed: int,
    fabric: Fabric,
    store: Store,
) -> None:
    """Write the features of all clips to an HDF5 file, and of those of train also random views.

    Args:
        path: The file, see `CachedFeatures`.
        model: Its backbones are run.
        inputs: The clips.
        identity: See `feature_identity`.
        views: The plain one and views - 1 random ones.
        augment: Of the random ones, see `random_view`.
        precision: bf16 features are kept as float16, others as float32.
        batch_size: Views at a time.
        input_px: What the backbone takes.
        seed: Of the random views.
        fabric: Device and precision.
        store: Where features are kept clip by clip.
    """
    dtype = np.float16 if precision == "bf16" else np.float32
    every, train = list(inputs.manifest.clips), inputs.manifest.of_split("train")
    runner: Any = fabric.setup_module(model.eval())
    runner.mark_forward_method("tokens")

    def features_of(clips: Sequence[Clip], random: int) -> dict[str, np.ndarray]:
        wanted = Views(random, input_px, augment, seed)
        return extract(
            runner,
            clips,
            inputs.clips,
            wanted,
            identity=identity,
            batch_size=batch_size,
            dtype=dtype,
            device=fabric.device,
            store=store,
        )

    plain = features_of(every, 0)
    random = features_of(train, views - 1) if views > 1 else {m: v[: len(train), :0] for m, v in plain.items()}
    write_features(
        path,
        identity=identity,
        clip_ids=[clip.clip_id for clip in every],
        plain=plain,
        augmented_ids=[clip.clip_id for clip in train],
        augmented=random,
    )


def extract(
    model: Any,
    clips: Sequence[Clip],
    folder: ClipFolder,
    views: Views,
    *,
    identity: Mapping[str, Any],
    batch_size: int,
    dtype: type[np.floating],
    device: torch.device,
    store: Store,
) -> dict[str, np.ndarray]:
    """Return {modality: features (clips, views, N, D)}, computing only what the store lacks.

    Args:
        model: A `Recogniser` set up by Fabric, in evaluation mode.
        clips: The rows.
        folder: Holds their tensors.
        views: Of each clip.
        identity: All that decides a feature besides the clip's tensor and the code.
        batch_size: Views at a time.
        dtype: In which they are kept.
        device: Where the model is.
        store: Where features are kept.

    Raises:
        UserError: if a feature is not a number, or too large for `dtype`.
    """
    version = code_version("actrec.training.extract", "torch", "torchvision")
    settings = {**_settings(identity, views), "device": device.type}
    keys = {clip.clip_id: item_key(version, settings, *_digests(clip, folder, views)) for clip in clips}
    missing = [clip.clip_id for clip in clips if store.find(_STAGE, keys[clip.clip_id]) is None]
    for clip_id, tokens in _compute(model, missing, folder, views, batch_size, device):
        content = io.BytesIO()
        with np.errstate(over="ignore"):  # told below, with the clip's name
            arrays: dict[str, Any] = {modality: values.astype(dtype) for modality, values in tokens.items()}
        if not all(np.isfinite(values).all() for values in arrays.values()):
            raise UserError(f"{clip_id}: its features are no numbers in {dtype.__name__}. Set features.precision: fp32")
        np.savez(content, **arrays)
        store.put(_STAGE, keys[clip_id], content.getvalue())
    return _collect([store.find(_STAGE, keys[clip.clip_id]) for clip in clips])


def _settings(identity: Mapping[str, Any], views: Views) -> dict[str, Any]:
    if views.random:
        return {**identity, "views": views.random}
    # A plain view stays what it is when random ones join it.
    seed = None if all(identity["weights_sha256"].values()) else identity["seed"]
    return {**identity, "views": 0, "augment": None, "seed": seed}


def _digests(clip: Clip, folder: ClipFolder, views: Views) -> list[str]:
    # Random views are drawn by the clip's name.
    return [folder.digests[clip.clip_id], *([clip.clip_id] if views.random else [])]


def _collect(entries: Sequence[Entry | None]) -> dict[str, np.ndarray]:
    rows: dict[str, list[np.ndarray]] = {}
    for entry in entries:
        assert entry is not None, "computed a moment ago"
        with np.load(entry.path, allow_pickle=False) as item:
            for modality in item.files:
                rows.setdefault(modality, []).append(item[modality])
    return {modality: np.stack(values) for modality, values in rows.items()}


def _compute(
    model: Any,
    clip_ids: Sequence[str],
    folder: ClipFolder,
    views: Views,
    batch_size: int,
    device: torch.device,
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    if not clip_ids:
        return
    per_clip = max(views.random, 1) * folder.spec.clips_per_video
    at_once = max(batch_size // per_clip, 1)
    chunks = [list(clip_ids[i : i + at_once]) for i in range(0, len(clip_ids), at_once)]
    padded = [chunk + [chunk[-1]] * (at_once - len(chunk)) for chunk in chunks]
    # One worker reads and crops the next batch while the backbone has this one.
    loader = DataLoader(_Chunks(padded, folder, views), batch_size=None, num_workers=1 if len(padded) > 1 else 0)
    for chunk, batch in zip(chunks, progress(loader, len(padded), _STAGE, "batches"), strict=True):
        with torch.inference_mode():
            tokens = model.tokens(to_device({"rgb": batch}, device))
        values = {m: v.float().unflatten(0, (at_once, per_clip)).cpu().numpy() for m, v in tokens.items()}
        yield from ((clip_id, {m: v[i] for m, v in values.items()}) for i, clip_id in enumerate(chunk))


class _Chunks(Dataset):
    def __init__(self, chunks: Sequence[Sequence[str]], folder: ClipFolder, views: Views) -> None:
        self._chunks, self._folder, self._views = chunks, folder, views

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, number: int) -> torch.Tensor:
        """Return the views of a chunk's clips, uint8 (clips * views, T, S, S, 3)."""
        return torch.cat([self._views.of(clip_id, self._folder[clip_id]) for clip_id in self._chunks[number]])
