"""The pickles of pyskl and mmaction2: reading anyone's, and writing and reading our own, which is one of them.

The layout, as `data_doc` of pyskl has it: {"split": {name: [frame_dir, …]}, "annotations": [{"frame_dir": str, "label":
int, "img_shape": (height, width), "original_shape": (height, width), "total_frames": int, "keypoint": (M, T, V, C)
float16, "keypoint_score": (M, T, V) float16}, …]}, where files of 3-D joints have neither scores nor shapes; or the
list of annotations alone. Ours adds "layout": the name of the order of joints.
"""

import io
import mmap
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actrec.errors import BadItem, UserError
from actrec.pose.layouts import LAYOUTS, Layout
from actrec.pose.skeleton import Fault, Skeleton, SkeletonFile, check_size, make_skeleton
from actrec.pose.unpickle import load_plain

# Kinetics-400's files have the first two: their joints lie in many other files.
_ELSEWHERE = ("raw_file", "frame_inds", "kpfile")
_MAX_NAME = 1000
_AGAIN = "Make it again: dvc repro -f skeletons"


class LoadedFile(NamedTuple):
    """What `load_pickle` gives: skeletons in the file's order, its split lists by their names, its order of joints."""

    skeletons: tuple[Skeleton, ...]
    splits: Mapping[str, tuple[str, ...]]
    layout: Layout


def read_pyskl(path: Path, *, layout: Layout, max_persons: int) -> SkeletonFile:
    """Return the skeletons of a pickle of pyskl or mmaction2, its split lists, and the annotations that are no use.

    2-D joints need "keypoint_score"; without it, as in files of 3-D ones, a joint's score is 1 unless it is all 0.
    "total_frames", where given, must be T. Other entries are not looked at. See `skeleton.make_skeleton` for what else
    is checked.

    Args:
        path: The file; nothing in it is run, see `unpickle.load_plain`.
        layout: Of its joints.
        max_persons: See `make_skeleton`.

    Raises:
        BadItem: unsafe_pickle, truncated, malformed, too_large, wrong_layout (of a file that names another one),
            unsupported (a list of clips whose joints lie in other files, as that of Kinetics-400).
    """
    content = _mapped(path)
    splits, annotations, named = _parts(load_plain(content), len(content))
    if named is not None and named != layout.name:
        raise BadItem("wrong_layout", f"expected joints of {layout.name}, got those of {_shown_text(named)}")
    _check_sharing(annotations, len(content))
    skeletons: list[Skeleton] = []
    faults: list[Fault] = []
    names: set[str] = set()
    for number, annotation in enumerate(annotations):
        name = _name(annotation) or f"annotation {number}"
        try:
            _check_name(annotation, name, names)
            skeletons.append(_skeleton(annotation, name, layout, max_persons))
        except BadItem as error:
            faults.append(Fault(name, error.reason, error.message))
    return SkeletonFile(tuple(skeletons), splits, tuple(faults))


def load_pickle(path: Path) -> LoadedFile:
    """Return what `write_pickle` wrote to a file. It is mapped, not read: arrays are read-only views of it.

    So a file of some GB takes little memory, which processes that fork share; copy an array before changing it. Joints
    are checked for their shapes and type, their values were when they were written.

    Raises:
        UserError: if it is not such a file, or not whole, or says that there are no skeletons.
    """
    try:
        content = _mapped(path)
        if bytes(content[:1]) == b"{":
            raise UserError(f"{path}: holds no skeletons. Set skeletons.enabled: true, and run dvc repro skeletons")
        splits, annotations, named = _parts(load_plain(content), len(content))
        if not isinstance(named, str) or not (layout := LAYOUTS.get(named)):
            raise BadItem("wrong_layout", f"expected one of {', '.join(LAYOUTS)} in 'layout', got {_shown_text(named)}")
        return LoadedFile(tuple(_as_written(annotations, layout)), splits, layout)
    except BadItem as error:
        raise UserError(f"{path}: not a whole file of skeletons ({error.reason}: {error.message}). {_AGAIN}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). {_AGAIN}") from None


def _mapped(path: Path) -> memoryview:
    """Return the bytes of a file, mapped."""
    with path.open("rb") as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:
            raise BadItem("truncated", "expected a pickle, got an empty file") from None


def _parts(content: Any, num_bytes: int) -> tuple[dict[str, tuple[str, ...]], list[Any], Any]:
    """Return the split lists, the annotations, and the name of the layout if a file of so many bytes says it."""
    if isinstance(content, list):
        content = {"annotations": content}
    if not isinstance(content, dict) or not isinstance(annotations := content.get("annotations"), list):
        got = f"a dict of {_shown(content)}" if isinstance(content, dict) else _kind(content)
        raise BadItem(
            "malformed", f"expected {{'split': …, 'annotations': [one dict a clip]}} or that list alone, got {got}"
        )
    first = annotations[0] if annotations else None
    if isinstance(first, dict) and "keypoint" not in first and any(key in first for key in _ELSEWHERE):
        raise BadItem(
            "unsupported",
            f"a list of clips whose joints lie in other files, as that of Kinetics-400 (its entries: {_shown(first)}). "
            "Expected annotations with their own 'keypoint': gather the joints into such a file first",
        )
    splits = content.get("split", {})
    if not isinstance(splits, dict) or not all(isinstance(names, list | tuple) for names in splits.values()):
        raise BadItem("malformed", f"'split': expected a dict of lists of names, got {_kind(splits)}")
    # One list may stand for many: a name takes a byte at least.
    if sum(map(len, splits.values())) > num_bytes:
        raise BadItem("too_large", f"'split': more names than the file has bytes ({num_bytes})")
    return {str(name): _names(str(name), names) for name, names in splits.items()}, annotations, content.get("layout")


def _names(split: str, names: Sequence[Any]) -> tuple[str, ...]:
    if wrong := {_kind(name) for name in names if not isinstance(name, str)}:
        raise BadItem("malformed", f"'split': expected names in {split[:40]}, got {', '.join(sorted(wrong))}")
    return tuple(names)


def _check_sharing(annotations: Sequence[Any], num_bytes: int) -> None:
    """Stop if arrays that many annotations share would become more than the file holds."""
    arrays = (a.get("keypoint") for a in annotations if isinstance(a, dict))
    if sum(array.size for array in arrays if isinstance(array, np.ndarray)) > num_bytes:
        raise BadItem("too_large", f"'keypoint': more coordinates than the file has bytes ({num_bytes})")


def _kind(value: Any) -> str:
    return type(value).__name__


def _shown_text(value: Any) -> str:
    return f"'{value[:40]}'" if isinstance(value, str) else _kind(value)


def _shown(value: Mapping[Any, Any]) -> str:
    """Return the first keys of a dict."""
    return ", ".join(str(key)[:40] for key in list(value)[:8]) or "nothing"


def _name(annotation: Any) -> str:
    name = annotation.get("frame_dir") if isinstance(annotation, dict) else None
    return name if isinstance(name, str) and len(name) <= _MAX_NAME else ""


def _check_name(annotation: Any, name: str, names: set[str]) -> None:
    """Stop at an annotation that does not say which clip it is of; remembers those that do."""
    if not isinstance(annotation, dict):
        raise BadItem("malformed", f"expected a dict, got {_kind(annotation)}")
    if not _name(annotation):
        raise BadItem("no_name", f"'frame_dir': expected the name of a clip, got {_kind(annotation.get('frame_dir'))}")
    if name in names:
        raise BadItem("duplicate", f"'frame_dir': {name} stands in the file more than once; the first one is used")
    names.add(name)


def _skeleton(annotation: dict[str, Any], name: str, layout: Layout, max_persons: int) -> Skeleton:
    keypoint, score = annotation.get("keypoint"), annotation.get("keypoint_score")
    if not isinstance(keypoint, np.ndarray):
        raise BadItem("wrong_shape", f"'keypoint': expected an array, got {_kind(keypoint)}")
    if score is not None and not isinstance(score, np.ndarray):
        raise BadItem("wrong_shape", f"'keypoint_score': expected an array, got {_kind(score)}")
    check_size(keypoint.size, "'keypoint'")
    if score is None and keypoint.ndim == 4 and keypoint.shape[3] == 2:
        raise BadItem("wrong_shape", "'keypoint_score': expected the scores of 2-D joints, got nothing")
    total_frames = _integer("total_frames", annotation.get("total_frames"))
    if total_frames is not None and keypoint.ndim == 4 and total_frames != keypoint.shape[1]:
        raise BadItem(
            "wrong_shape",
            f"'total_frames': expected the {keypoint.shape[1]} frames of 'keypoint', got {total_frames}",
        )
    return make_skeleton(
        name,
        keypoint,
        score,
        layout=layout,
        max_persons=max_persons,
        img_shape=_picture(annotation.get("img_shape")),
        label=_integer("label", annotation.get("label")),
    )


def _picture(value: Any) -> tuple[int, int] | None:
    match value:
        case None:
            return None
        case [int() as height, int() as width] if 0 < height < 2**31 and 0 < width < 2**31:
            return height, width
    raise BadItem("wrong_shape", f"'img_shape': expected (height, width) in pixels, got {_kind(value)}")


def _integer(what: str, value: Any) -> int | None:
    if value is not None and (type(value) is not int or abs(value) >= 2**31):
        raise BadItem("malformed", f"'{what}': expected a whole number, got {_kind(value)}")
    return value


def _as_written(annotations: Sequence[Any], layout: Layout) -> Iterator[Skeleton]:
    """Yield the skeletons of our own annotations."""
    names: set[str] = set()
    for annotation in annotations:
        name = _name(annotation)
        _check_name(annotation, name, names)
        keypoint = _float16(annotation, "keypoint", 4)
        score = _float16(annotation, "keypoint_score", 3) if "keypoint_score" in annotation else _presence(keypoint)
        num_persons, num_frames, num_joints, num_dims = keypoint.shape
        fits_layout = num_joints == len(layout.joints) and num_dims in (2, 3)
        if score.shape != keypoint.shape[:3] or not (fits_layout and num_persons and num_frames):
            raise BadItem("wrong_shape", f"{name}: arrays of {keypoint.shape} and {score.shape} for {layout.name}")
        shape, label = _picture(annotation.get("img_shape")), _integer("label", annotation.get("label"))
        yield Skeleton(name, keypoint, score, shape, label)


def _float16(annotation: dict[str, Any], key: str, num_axes: int) -> NDArray[np.float16]:
    values = annotation.get(key)
    if not isinstance(values, np.ndarray) or values.dtype != np.float16 or values.ndim != num_axes:
        raise BadItem("wrong_shape", f"{_name(annotation)}: '{key}': expected float16 of {num_axes} axes")
    return values


def _presence(keypoint: NDArray[np.float16]) -> NDArray[np.float16]:
    """Return the score (M, T, V) of joints whose file has none: 1, and 0 where all coordinates are 0."""
    return np.any(keypoint, axis=-1).astype(np.float16)


def dump_pickle(skeletons: Iterable[Skeleton], *, splits: Mapping[str, Sequence[str]], layout: Layout) -> bytes:
    """Return what `write_pickle` writes."""
    file = io.BytesIO()
    write_pickle(file, skeletons, splits=splits, layout=layout)
    return file.getvalue()


def write_pickle(
    file: BinaryIO, skeletons: Iterable[Skeleton], *, splits: Mapping[str, Sequence[str]], layout: Layout
) -> None:
    """Write a pickle in pyskl's layout, one skeleton at a time; the same content gives the same bytes.

    It is of protocol 4, and numpy 1 and 2 read it. Joints of 3 coordinates whose scores are 1 where a joint is seen
    are written without scores, as pyskl wants them.

    Args:
        file: To write to.
        skeletons: In the order that they are to have; consumed as they are written.
        splits: {name: names of its clips}, in the order that they are to have.
        layout: Of all of them.

    Raises:
        BadItem: wrong_layout, wrong_shape (2-D and 3-D in one file), no_img_shape (2-D, and the size of the picture is
            not known), duplicate.
    """
    writer = _Writer(file)
    writer.raw(_PROTO + _EMPTY_DICT + _MARK)
    writer.items(("layout", layout.name), ("split", {name: list(names) for name, names in splits.items()}))
    writer.text("annotations")
    writer.raw(_EMPTY_LIST)
    num_dims: set[int] = set()
    names: set[str] = set()
    for skeleton in skeletons:
        num_dims.add(skeleton.keypoint.shape[-1])
        _check_writable(skeleton, layout, num_dims, names)
        names.add(skeleton.name)
        writer.value(_annotation(skeleton))
        writer.raw(_APPEND)
    writer.raw(_SETITEMS + _STOP)


def _check_writable(skeleton: Skeleton, layout: Layout, num_dims: set[int], names: set[str]) -> None:
    name, (_, _, num_joints, dims) = skeleton.name, skeleton.keypoint.shape
    if num_joints != len(layout.joints):
        raise BadItem(
            "wrong_layout", f"{name}: expected {len(layout.joints)} joints of {layout.name}, got {num_joints}"
        )
    if len(num_dims) > 1:
        raise BadItem("wrong_shape", f"{name}: expected as many coordinates a joint as before it, got {dims}")
    if dims == 2 and skeleton.img_shape is None:
        raise BadItem("no_img_shape", f"{name}: expected the height and width of the picture whose pixels these are")
    if name in names:
        raise BadItem("duplicate", f"{name}: there is another skeleton of this name")


def _annotation(skeleton: Skeleton) -> dict[str, Any]:
    annotation: dict[str, Any] = {"frame_dir": skeleton.name}
    if skeleton.label is not None:
        annotation["label"] = skeleton.label
    if skeleton.keypoint.shape[-1] == 2:
        annotation["img_shape"] = annotation["original_shape"] = skeleton.img_shape
    annotation |= {"total_frames": skeleton.keypoint.shape[1], "keypoint": skeleton.keypoint}
    if skeleton.keypoint.shape[-1] == 2 or not np.array_equal(skeleton.score, _presence(skeleton.keypoint)):
        annotation["keypoint_score"] = skeleton.score
    return annotation


_PROTO, _MARK, _STOP = b"\x80\x04", b"(", b"."
_EMPTY_DICT, _SETITEMS = b"}", b"u"
_EMPTY_LIST, _APPEND, _APPENDS = b"]", b"a", b"e"
_TUPLE, _REDUCE, _BUILD = b"t", b"R", b"b"
_INT, _TEXT, _BYTES, _PUT, _GET = b"J", b"X", b"B", b"q", b"h"
# _reconstruct(ndarray, (0,), b"b"), as numpy 1 names it; numpy 2 knows both names.
_NEW_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87"
# dtype("f2", False, True), filled with little-endian and the defaults of a plain type.
_FLOAT16 = (
    b"cnumpy\ndtype\nX\x02\x00\x00\x00f2\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNN"
    + b"J\xff\xff\xff\xff" * 2
    + b"K\x00tb"
)


class _Writer:
    """Writes pickle instructions. Python's own pickler refers back to objects that are the same: these bytes do not
    depend on which objects those were.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._has_dtype = False

    def raw(self, instructions: bytes) -> None:
        self._file.write(instructions)

    def text(self, text: str) -> None:
        content = text.encode()
        self.raw(_TEXT + struct.pack("<I", len(content)) + content)

    def items(self, *items: tuple[str, Any]) -> None:
        for key, value in items:
            self.text(key)
            self.value(value)

    def value(self, value: Any) -> None:
        match value:
            case str():
                self.text(value)
            case int():
                self.raw(_INT + struct.pack("<i", value))
            case tuple() | list():
                is_list = isinstance(value, list)
                self.raw(_EMPTY_LIST + _MARK if is_list else _MARK)
                for part in value:
                    self.value(part)
                self.raw(_APPENDS if is_list else _TUPLE)
            case dict():
                self.raw(_EMPTY_DICT + _MARK)
                self.items(*value.items())
                self.raw(_SETITEMS)
            case np.ndarray():
                self._array(value)
            case _:
                raise TypeError(f"{_kind(value)} has no place in a file of skeletons")

    def _array(self, values: NDArray[np.float16]) -> None:
        content = np.ascontiguousarray(values, "<f2").data
        self.raw(_NEW_ARRAY + _REDUCE + _MARK)
        self.value(1)
        self.value(values.shape)
        self.raw(_GET + b"\x00" if self._has_dtype else _FLOAT16 + _PUT + b"\x00")
        self._has_dtype = True
        self.raw(b"\x89" + _BYTES + struct.pack("<I", content.nbytes))
        self._file.write(content)
        self.raw(_TUPLE + _BUILD)
