"""The cache of frozen backbones' outputs: one HDF5 file, with the identity of what made it."""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from actrec.errors import UserError
from actrec.store.files import disk_full, publish

_FORMAT = 2
_ABSENT = "absent"


def feature_identity(
    *,
    backbones: Mapping[str, Any],
    weights_sha256: Mapping[str, str],
    specs: Mapping[str, Mapping[str, Any]],
    features: Mapping[str, Any],
    compute: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Return {modality: all that decides its features besides the clip and the code}, without what has no influence.

    Args:
        backbones: The section `model.backbones`.
        weights_sha256: Of each backbone's weights, "" for random ones.
        specs: How the clips of each modality were made.
        features: The section `features`.
        compute: The section `compute`.
        seed: Of random weights and random views.
    """
    has_random_views = features["views"] > 1
    return {
        modality: {
            "backbone": backbone if not weights_sha256[modality] else _without_weights(backbone),
            "weights_sha256": weights_sha256[modality],
            "spec": dict(specs[modality]),
            "views": features["views"],
            "augment": features["augment"].get(modality) if has_random_views else None,
            "precision": features["precision"],
            "batch_size": features["batch_size"],
            "compute": dict(compute),
            "seed": seed if has_random_views or not weights_sha256[modality] else None,
        }
        for modality, backbone in backbones.items()
    }


def _without_weights(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where the weights came from: their digest says which they are."""
    return {key: value for key, value in backbone.items() if key != "weights"}


def write_features(
    path: Path,
    *,
    identity: Mapping[str, Any],
    clip_ids: Sequence[str],
    plain: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
    augmented_ids: Sequence[str],
    augmented: Mapping[str, np.ndarray],
) -> None:
    """Write features.h5, whole or not at all; the same content gives the same bytes.

    Args:
        path: The file.
        identity: What made the features: weights, preprocessing, precision, views. `CachedFeatures` compares it.
        clip_ids: Of the rows of `plain`.
        plain: {modality: float (clips, views, N, D)}.
        present: {modality: bool (clips,)}: the rows of `plain` and `augmented` that hold anything.
        augmented_ids: Of the rows of `augmented`: the training clips.
        augmented: {modality: float (training clips, random views, N, D)}.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    try:
        with h5py.File(temporary, "w", track_order=False) as file:
            file.attrs["format"] = _FORMAT
            file.attrs["identity"] = json.dumps(identity, sort_keys=True)
            file.attrs["modalities"] = json.dumps(sorted(plain))
            for name, ids in (("clip_ids", clip_ids), ("augmented_ids", augmented_ids)):
                file.create_dataset(name, data=list(ids), dtype=h5py.string_dtype(), track_times=False)
            for group, arrays in (("plain", plain), ("present", present), ("augmented", augmented)):
                for modality, values in sorted(arrays.items()):
                    file.create_dataset(f"{group}/{modality}", data=values, track_times=False)
        # After a full disk HDF5 may close a file that opens cleanly with datasets missing: look before it has its name.
        CachedFeatures(temporary, identity)
        publish(temporary, path)
    except (OSError, RuntimeError, UserError) as error:
        temporary.unlink(missing_ok=True)
        # What HDF5 raises depends on where it found no room, but the text always has the system's.
        if any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT)):
            raise disk_full(path) from None
        raise


class CachedFeatures:
    """The features in a file, all read into memory (random rows from disk are 25x slower).

    Args:
        path: What `write_features` wrote.
        identity: What the caller needs; None to take what is there.

    Raises:
        UserError: if the file holds features of something else, is damaged, or refers to other files.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any] | None) -> None:
        self._path = path
        try:
            with h5py.File(path, "r") as file:
                _refuse_references(file)
                content: Any = file
                self.identity: dict[str, Any] = json.loads(str(file.attrs["identity"]))
                _refuse_mismatch(path, self.identity, identity)
                ids = {name: [str(v) for v in content[name].asstr()[:]] for name in ("clip_ids", "augmented_ids")}
                self.modalities: list[str] = json.loads(str(file.attrs["modalities"]))
                self._plain = {m: content[f"plain/{m}"][:] for m in self.modalities}
                self._present = {m: content[f"present/{m}"][:] for m in self.modalities}
                self._augmented = {m: content[f"augmented/{m}"][:] for m in self.modalities}
        except (OSError, RuntimeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: not a whole feature file ({error}). Make it again: dvc repro -f features"
            ) from None
        self._rows = {name: {clip_id: row for row, clip_id in enumerate(values)} for name, values in ids.items()}
        counts = {len(ids["clip_ids"]), *(len(v) for part in (self._plain, self._present) for v in part.values())}
        if len(counts) != 1 or {len(v) for v in self._augmented.values()} - {len(ids["augmented_ids"])}:
            raise UserError(f"{path}: rows are missing. Make it again: dvc repro -f features")

    def digest(self, clip_ids: Sequence[str]) -> str:
        """Return a digest of all views of these clips, and of what made them."""
        digest = sha256(repr((self.identity, list(clip_ids))).encode())
        for modality in self.modalities:
            arrays = (f(modality, clip_ids) for f in (self.plain, self.present, self.augmented))
            for values in arrays:
                digest.update(repr(values.shape).encode())
                digest.update(values.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def plain(self, modality: str, clip_ids: Sequence[str]) -> np.ndarray:
        """Return the plain views of these clips, float32 (n, views, N, D).

        Raises:
            UserError: if a clip is not in the file.
        """
        return self._plain[modality][self._rows_of(clip_ids)].astype(np.float32, copy=False)

    def present(self, modality: str, clip_ids: Sequence[str]) -> np.ndarray:
        """Return which of these clips have the modality, bool (n,); the features of the others are zeros.

        Raises:
            UserError: if a clip is not in the file.
        """
        return self._present[modality][self._rows_of(clip_ids)]

    def _rows_of(self, clip_ids: Sequence[str]) -> list[int]:
        rows = self._rows["clip_ids"]
        if missing := [clip_id for clip_id in clip_ids if clip_id not in rows]:
            raise UserError(
                f"{self._path}: made before {len(missing)} of the clips were there ({', '.join(missing[:3])} …). "
                "Make it again: dvc repro features"
            )
        return [rows[clip_id] for clip_id in clip_ids]

    def augmented(self, modality: str, clip_ids: Sequence[str]) -> np.ndarray:
        """Return the random views of these clips, float32 (n, random views, N, D); clips outside train have none."""
        known = self._rows["augmented_ids"]
        if not all(clip_id in known for clip_id in clip_ids):
            values = self._augmented[modality]
            return np.zeros((len(clip_ids), 0, *values.shape[2:]), np.float32)
        return self._augmented[modality][[known[clip_id] for clip_id in clip_ids]].astype(np.float32, copy=False)


def _refuse_references(group: h5py.Group) -> None:
    """Raise ValueError unless all bytes lie in the file itself: HDF5 can refer to any other file on the machine."""
    for name in group:
        part = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if isinstance(part, h5py.Group):
            _refuse_references(part)
        elif not isinstance(part, h5py.Dataset) or part.external or part.is_virtual:
            raise ValueError(f"{name} is not stored in the file itself")


def _refuse_mismatch(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> None:
    if wanted is None:
        return
    as_stored: dict[str, Any] = json.loads(json.dumps(wanted))
    if found != as_stored:
        shown = "; ".join(_differences(found, as_stored))
        raise UserError(f"{path}: features of something else: {shown}. Make them again: dvc repro features")


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Yield what differs, a setting at a time."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            yield from _differences(found.get(key, _ABSENT), wanted.get(key, _ABSENT), f"{name}.{key}".lstrip("."))
    elif found != wanted:
        yield f"{name} is {found}, wanted {wanted}"
