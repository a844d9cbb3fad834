"""Files of skeletons of any kind."""

from pathlib import Path

from actrec.errors import BadItem
from actrec.pose.keypoint_coco import read_coco_json
from actrec.pose.keypoint_csv import read_csv
from actrec.pose.keypoint_npz import read_npz
from actrec.pose.layouts import Layout
from actrec.pose.ntu_text import read_ntu_text
from actrec.pose.pyskl_file import read_pyskl
from actrec.pose.skeleton import SkeletonFile, one_dimension

# What the names of the files of a kind end in, where a folder may hold many.
SUFFIXES = {
    "pyskl": ".pkl",
    "ntu_text": ".skeleton",
    "ntu_text_2d": ".skeleton",
    "npz": ".npz",
    "csv": ".csv",
    "coco_json": ".json",
}
KINDS = tuple(SUFFIXES)


def read_skeletons(path: Path, *, kind: str, layout: Layout, max_persons: int) -> SkeletonFile:
    """Return what one file holds: a clip of it that cannot be used is a fault, and the others are read all the same.

    Joints of all skeletons have as many coordinates as those of the first.

    Args:
        path: The file.
        kind: pyskl (`pyskl_file.read_pyskl`), ntu_text and ntu_text_2d (`ntu_text.read_ntu_text`: x y z, or places in
            the colour picture), npz (`keypoint_npz.read_npz`), csv (`keypoint_csv.read_csv`), coco_json
            (`keypoint_coco.read_coco_json`).
        layout: Of its joints.
        max_persons: How many persons of a clip are kept, at least 1; which, `clean.most_seen` says.

    Raises:
        BadItem: if the file as a whole is no use; unreadable, if it cannot be read.
    """
    try:
        found = _read(path, kind, layout, max_persons)
    except OSError as error:
        raise BadItem("unreadable", f"cannot be read ({error.strerror})") from None
    skeletons, faults = one_dimension(found.skeletons)
    return SkeletonFile(skeletons, found.splits, (*found.faults, *faults))


def _read(path: Path, kind: str, layout: Layout, max_persons: int) -> SkeletonFile:
    match kind:
        case "pyskl":
            return read_pyskl(path, layout=layout, max_persons=max_persons)
        case "ntu_text" | "ntu_text_2d":
            dims = 3 if kind == "ntu_text" else 2
            return SkeletonFile((read_ntu_text(path, dims=dims, layout=layout, max_persons=max_persons),), {}, ())
        case "npz":
            return read_npz(path, layout=layout, max_persons=max_persons)
        case "csv":
            return read_csv(path, layout=layout, max_persons=max_persons)
        case "coco_json":
            return read_coco_json(path, layout=layout, max_persons=max_persons)
    raise ValueError(f"{kind} is none of {', '.join(KINDS)}")
