"""Frozen backbones run once over every clip; what they say is kept in the store, by clip and modality.

Of pairs it is kept by person: whoever is in several pairs of a picture is looked at once, see `Modality.parts`.

A clip's features must not depend on which other clips are computed along with it, or a killed run would end with other
numbers than an undisturbed one. So every batch has the same shape: the last one is filled up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset

from actrec.console import progress
from actrec.errors import UserError
from actrec.models.recogniser import Recogniser
from actrec.store.cas import Store, item_key
from actrec.store.closure import code_version
from actrec.store.features import write_features
from actrec.store.packs import read_packs, write_pack
from actrec.store.workers import worker_count
from actrec.training.data import Inputs
from actrec.training.modalities import Modality, drawn_by, open_modalities
from actrec.training.pair_geometry import PairGeometry
from actrec.training.predict import to_device
from actrec.training.randomness import generator

_STAGE = "features"


@dataclass(frozen=True, slots=True)
class Views:
    """Which views of each clip are looked at.

    Args:
        modality: Its name, part of what random views are drawn by.
        reader: Gives them.
        random: How many random ones, for each of the stored views of a clip; 0 is the plain ones alone.
        seed: Of the random ones.
    """

    modality: str
    reader: Modality
    random: int
    seed: int

    def of(self, clip_id: str) -> torch.Tensor:
        """Return the views (views, …) of a clip, or of a part of one."""
        if not self.random:
            return self.reader.plain(clip_id)
        return torch.stack(
            [
                self.reader.random(
                    clip_id, generator(self.seed, "cached view", drawn_by(self.modality), clip_id, i, j), view=i
                )
                for i in range(len(self.reader.absent()))
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
    augment: Mapping[str, Mapping[str, Any]],
    precision: str,
    batch_size: int,
    backbones: Mapping[str, Mapping[str, Any]],
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
        augment: Of the random ones, a modality.
        precision: bf16 features are kept as float16, others as float32.
        batch_size: Views at a time.
        backbones: The section `model.backbones`: what each is shown.
        seed: Of the random views.
        fabric: Device and precision.
        store: Where features are kept.
    """
    dtype = np.float16 if precision == "bf16" else np.float32
    every = [clip.clip_id for clip in inputs.manifest.clips]
    train = [clip.clip_id for clip in inputs.manifest.of_split("train")]
    runner = fabric.to_device(model.eval())
    readers = open_modalities(inputs.folders, backbones=backbones, augment=augment)
    how: dict[str, Any] = {"batch_size": batch_size, "dtype": dtype, "device": fabric.device, "store": store}

    def features_of(modality: str, clip_ids: Sequence[str], random: int) -> np.ndarray:
        reader = readers[modality]
        if isinstance(reader, PairGeometry):  # read faster than found in the store
            return torch.stack([reader.plain(clip_id) for clip_id in clip_ids]).numpy()
        views_of = Views(modality, reader, random, seed)
        with fabric.autocast():
            return extract(runner, clip_ids, views_of, identity=identity[modality], **how)

    plain = {m: features_of(m, every, 0) for m in readers}
    # Of geometry a random view is the plain one.
    drawn = [m for m, reader in readers.items() if views > 1 and not isinstance(reader, PairGeometry)]
    none = {m: values[: len(train), :0] for m, values in plain.items()}
    random = {**none, **{m: features_of(m, train, views - 1) for m in drawn}}
    write_features(
        path,
        identity=identity,
        clip_ids=every,
        plain=plain,
        present={m: np.array([clip_id in reader.digests for clip_id in every]) for m, reader in readers.items()},
        augmented_ids=train,
        augmented=random,
    )


def extract(
    model: Any,
    clip_ids: Sequence[str],
    views: Views,
    *,
    identity: Mapping[str, Any],
    batch_size: int,
    dtype: type[np.floating],
    device: torch.device,
    store: Store,
) -> np.ndarray:
    """Return features (clips, views, N, D) of one modality, computing only what the store lacks; zeros for no input.

    Args:
        model: A `Recogniser` set up by Fabric, in evaluation mode.
        clip_ids: The rows.
        views: Of each clip.
        identity: All that decides a feature besides the clip's array and the code.
        batch_size: Views at a time.
        dtype: In which they are kept.
        device: Where the model is.
        store: Where features are kept.

    Raises:
        UserError: if no clip has the modality, or a feature is not a number or too large for `dtype`.
    """
    digests = views.reader.digests
    parts = {clip_id: views.reader.parts(clip_id) for clip_id in clip_ids if clip_id in digests}
    if not parts:
        raise UserError(f"no clip has {views.modality}: take it out of model.backbones, or look at sound.csv for why")
    version = code_version("actrec.training.extract", "torch", "torchvision", "transformers")
    settings = {"modality": views.modality, **_settings(identity, views), "device": device.type}
    needed = dict.fromkeys(part for own in parts.values() for part in own)
    kind = item_key(version, settings)
    names = {part: f"{digests[part]} {part}" if views.random else digests[part] for part in needed}
    found = read_packs(store, _STAGE, kind, names.values())
    missing = list({name: part for part, name in names.items() if name not in found}.values())
    for computed, tokens in _compute(model, missing, views, batch_size, device):
        with np.errstate(over="ignore"):  # told below, with the clip's name
            values = tokens.astype(dtype)
        for part, own in zip(computed, values, strict=True):
            if not np.isfinite(own).all():
                raise UserError(
                    f"{part}: its features are no numbers in {dtype.__name__}. Set features.precision: fp32"
                )
        pack = dict(zip((names[part] for part in computed), values, strict=True))
        write_pack(store, _STAGE, kind, pack)
        found |= pack
    return _collect(clip_ids, parts, {part: found[name] for part, name in names.items()})


def _settings(identity: Mapping[str, Any], views: Views) -> dict[str, Any]:
    if views.random:
        return {**identity, "views": views.random}
    # A plain view stays what it is when random ones join it.
    return {**identity, "views": 0, "augment": None, "seed": None if identity["weights_sha256"] else identity["seed"]}


def _collect(
    clip_ids: Sequence[str], parts: Mapping[str, Sequence[str]], found: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return (clips, views, N, D), the N tokens of a clip being those of its parts; zeros for clips without any."""
    first = next(iter(parts.values()))
    views, tokens, width = found[first[0]].shape
    values = np.zeros((len(clip_ids), views, tokens * len(first), width), found[first[0]].dtype)
    for row, clip_id in enumerate(clip_ids):
        if clip_id in parts:
            values[row] = np.concatenate([found[part] for part in parts[clip_id]], axis=1)
    return values


def _compute(
    model: Any, clip_ids: Sequence[str], views: Views, batch_size: int, device: torch.device
) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    """Yield some of the clips at a time, and their tokens (clips, views, N, D)."""
    if not clip_ids:
        return
    per_clip = max(views.random, 1) * len(views.reader.absent())
    at_once = max(batch_size // per_clip, 1)
    chunks = [list(clip_ids[i : i + at_once]) for i in range(0, len(clip_ids), at_once)]
    # One worker reads and crops the next batch while the backbone has this one.
    workers = min(worker_count() if views.reader.is_slow else 1, len(chunks))
    loader = DataLoader(_Chunks(chunks, at_once, views), batch_size=None, num_workers=workers if len(chunks) > 1 else 0)
    label = f"{_STAGE} ({views.modality})"
    for chunk, batch in zip(chunks, progress(loader, len(chunks), label, "batches"), strict=True):
        with torch.inference_mode():
            tokens = model.tokens_of(views.modality, to_device({"views": batch}, device)["views"])
        values = tokens.float().unflatten(0, (at_once, per_clip)).cpu().numpy()
        yield chunk, values[: len(chunk)]


class _Chunks(Dataset):
    def __init__(self, chunks: Sequence[Sequence[str]], at_once: int, views: Views) -> None:
        self._chunks, self._at_once, self._views = chunks, at_once, views

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, number: int) -> torch.Tensor:
        """Return the views of a chunk's clips (clips * views, …), filled up with those of its last clip."""
        shown = [self._views.of(clip_id) for clip_id in self._chunks[number]]
        return torch.cat(shown + shown[-1:] * (self._at_once - len(shown)))
