"""Keypoints in npz files of numpy."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from actrec.errors import BadItem
from actrec.pose.keypoint_files import Gathered
from actrec.pose.layouts import Layout
from actrec.pose.skeleton import Skeleton, SkeletonFile, make_skeleton

_KEYPOINT, _SCORE, _SHAPE = "keypoint", "keypoint_score", "img_shape"
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, RuntimeError)


def read_npz(path: Path, *, layout: Layout, max_persons: int) -> SkeletonFile:
    """Return the skeletons of an npz file of numpy, by the order of their names in it.

    For each clip, arrays of numbers; a name may have slashes of its own:

    - `<name>/keypoint`: (persons, frames, joints, 2 or 3)
    - `<name>/keypoint_score`, optional: (persons, frames, joints) in [0, 1]; without it 1, and 0 where all coordinates
      are 0
    - `<name>/img_shape`, optional: [height, width] of the picture in pixels; without it that of `img_shape`, which is
      one for the whole file; without both it is None, and the size of the clip's video has to be taken

    A clip with arrays of other names is set aside; what is no clip's is not looked at. See `keypoint_files` for units
    and for data of other tools.

    Args:
        path: The file, as `np.savez` or `np.savez_compressed` writes it; pickled objects in it are not read.
        layout: Of its joints.
        max_persons: See `make_skeleton`.

    Raises:
        BadItem: malformed, if it is no such file or has no `<name>/keypoint`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _of_archive(_Archive(archive), layout, max_persons)
    except zipfile.BadZipFile as error:
        raise BadItem("malformed", f"expected an npz file, as np.savez writes it, got none ({error})") from None


def _of_archive(archive: _Archive, layout: Layout, max_persons: int) -> SkeletonFile:
    arrays: dict[str, list[str]] = defaultdict(list)
    for key in archive.keys:
        name, _, array = key.rpartition("/")
        arrays[name].append(array)
    names = [name for name, own in arrays.items() if name and _KEYPOINT in own]
    if not names:
        found = ", ".join(list(archive.keys)[:5]) or "nothing"
        raise BadItem("malformed", f"expected arrays <name>/{_KEYPOINT}, got {found}")
    gathered = Gathered()
    for name in names:
        try:
            _refuse_unknown(name, arrays[name])
            gathered.add(_skeleton(archive, name, gathered, layout, max_persons))
        except BadItem as error:
            gathered.fail(name, error)
    return gathered.file()


def _refuse_unknown(name: str, arrays: Iterable[str]) -> None:
    """Raise BadItem if a clip has an array of another name: scores of a misspelled one would count as 1."""
    if unknown := sorted(set(arrays) - {_KEYPOINT, _SCORE, _SHAPE}):
        shown = ", ".join(f"{name}/{array}" for array in unknown)
        raise BadItem("malformed", f"expected {_KEYPOINT}, {_SCORE} and {_SHAPE} alone, got {shown}")


def _skeleton(archive: _Archive, name: str, gathered: Gathered, layout: Layout, max_persons: int) -> Skeleton:
    keypoint = archive.read(f"{name}/{_KEYPOINT}", gathered)
    score_key, shape_key = f"{name}/{_SCORE}", f"{name}/{_SHAPE}"
    shape_key = shape_key if shape_key in archive.keys else _SHAPE
    return make_skeleton(
        name,
        keypoint,
        archive.read(score_key, gathered) if score_key in archive.keys else None,
        layout=layout,
        max_persons=max_persons,
        img_shape=_picture(archive.read(shape_key, gathered)) if shape_key in archive.keys else None,
    )


def _picture(values: NDArray[Any]) -> tuple[int, int]:
    if values.shape != (2,) or values.dtype.kind not in "iu" or not (values > 0).all():
        raise BadItem("wrong_shape", f"{_SHAPE}: expected [height, width] in pixels, got {values.dtype} {values.shape}")
    return int(values[0]), int(values[1])


class _Archive:
    """The arrays of an npz file, read one at a time, none before its size is known."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.keys = {i.filename.removesuffix(".npy"): i for i in archive.infolist() if i.filename.endswith(".npy")}

    def read(self, key: str, gathered: Gathered) -> NDArray[Any]:
        """Return an array of numbers, whose size `gathered` counts.

        Raises:
            BadItem: malformed; truncated; too_large.
        """
        info = self.keys[key]
        try:
            with self._archive.open(info) as file:
                shape, is_fortran, dtype = _header(file)
                num_bytes = math.prod(shape) * dtype.itemsize
                gathered.reserve(math.prod(shape), key)
                if dtype.kind not in "fiu" or min(shape, default=0) < 0 or info.file_size - file.tell() != num_bytes:
                    raise BadItem("malformed", f"{key}: expected an array of numbers, got {dtype} of {shape}")
                content = file.read()
        except _BROKEN as error:
            raise BadItem("malformed", f"{key}: expected an array as np.savez writes it ({error})") from None
        if len(content) != num_bytes:
            raise BadItem("truncated", f"{key}: expected {num_bytes} bytes, got {len(content)}")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of its format")
    return read(file)
