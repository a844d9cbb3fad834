"""Facts of public data sets that come with the package: class names in the order of their numbers, and NTU's gaps.

Class names begin with the number that the data set gives them: so the classes of a manifest, which are sorted by name,
have the order of the data set, and of a checkpoint that was trained on it.
"""

from pathlib import Path

from actrec.data.rows import read_text
from actrec.errors import UserError

_LISTS = Path(__file__).with_name("lists")
# NTU60 is the first half of NTU120. Source: tables 1 of the papers on NTU RGB+D, MA-52.
_CLASSES = {"ntu60": ("ntu120", 60), "ntu120": ("ntu120", 120), "ma52": ("ma52", 52)}


def class_names(root: Path, name: str) -> list[str]:
    """Return class names, the first that of class 0.

    Args:
        root: The data root.
        name: ntu60, ntu120 or ma52, else a file below the root with a name a line.

    Raises:
        UserError: if the file cannot be read, or has blank or equal lines.
    """
    if name not in _CLASSES:
        return _named_in(root / name)
    list_name, count = _CLASSES[name]
    return _named_in(_LISTS / f"{list_name}_classes.txt")[:count]


def _named_in(file: Path) -> list[str]:
    names = [line.strip() for line in read_text(file).rstrip().splitlines()]
    blank = [str(i) for i, name in enumerate(names, start=1) if not name]
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if blank or twice or not names:
        fault = f"blank rows: {', '.join(blank)}" if blank else f"names that appear twice: {', '.join(twice)}"
        raise UserError(f"{file}: expected one class name a line, got {fault if names else 'an empty file'}.")
    return names


def ntu_without_skeleton() -> frozenset[str]:
    """Return the samples of NTU120, and so of NTU60, whose skeletons are missing or incomplete: 535, or 302.

    Source: the lists of the data set's authors (shahroudy/NTURGB-D).
    """
    return frozenset(read_text(_LISTS / "ntu120_missing_skeletons.txt").split())
