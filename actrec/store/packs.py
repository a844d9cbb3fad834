"""Small arrays of one kind, many to an entry of the store: to create a file for each takes longer than to make most."""

import io
import json
from collections.abc import Collection, Mapping, Set
from hashlib import sha256

import numpy as np

from actrec.store.cas import Entry, Store


def write_pack(store: Store, stage: str, kind: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep arrays of one shape and dtype together, by name.

    Args:
        store: Where.
        stage: The stage that they belong to.
        kind: The key of all that decides on them besides their names, see `item_key`.
        arrays: By name; the same kind and name always mean the same array.
    """
    content = io.BytesIO()
    content.write(json.dumps(list(arrays)).encode() + b"\n")
    np.save(content, np.stack(list(arrays.values())), allow_pickle=False)
    names = sha256("\n".join(arrays).encode()).hexdigest()
    # To sync it would take longer than all the rest: what a power failure tears is noticed when it is read.
    store.put(stage, f"{kind}-{names[:16]}", content.getvalue(), sync=False)


def read_packs(store: Store, stage: str, kind: str, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Return those of the wanted arrays that are there, by name. See `write_pack`."""
    missing, found = set(wanted), {}
    for entry in store.find_all(stage, f"{kind}-") if missing else []:
        own = _read(entry, missing)
        found |= own
        missing -= own.keys()
    return found


def _read(entry: Entry, wanted: Set[str]) -> dict[str, np.ndarray]:
    """Return what is wanted of a pack; nothing if the power failed before it was on the disk."""
    with entry.path.open("rb") as file:
        head = file.readline()
        try:
            names = json.loads(head)
        except ValueError:
            return {}
        if wanted.isdisjoint(names):  # of another data set
            return {}
        rest = file.read()
    if sha256(head + rest).hexdigest() != entry.sha256:
        return {}
    arrays = np.load(io.BytesIO(rest), allow_pickle=False)
    return {name: array for name, array in zip(names, arrays, strict=True) if name in wanted}
