"""Many small arrays in one entry of the store: found by name, and not at all where any byte is another."""

from pathlib import Path

import numpy as np
import pytest

from actrec.store.cas import Store
from actrec.store.packs import read_packs, write_pack

KIND, OTHER = "a" * 64, "a" * 63 + "b"


def arrays(*names: str) -> dict[str, np.ndarray]:
    """Return an array (2, 3) for each name, that depends on it alone."""
    return {name: np.full((2, 3), sum(name.encode()), np.float16) for name in names}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], own) and found[name].dtype == own.dtype for name, own in expected.items()
    )


def test_what_is_wanted_comes_out_of_several_packs(store: Store) -> None:
    write_pack(store, "features", KIND, arrays("x", "y z", "é"))
    write_pack(store, "features", KIND, arrays("q"))
    assert len(store.entries()) == 2
    assert same(read_packs(store, "features", KIND, ["q", "é", "absent"]), arrays("q", "é"))
    assert same(read_packs(store, "features", KIND, ["y z"]), arrays("y z"))
    assert read_packs(store, "features", KIND, []) == {}


def test_another_kind_or_stage_has_none_of_it(store: Store) -> None:
    write_pack(store, "features", KIND, arrays("x"))
    assert read_packs(store, "features", OTHER, ["x"]) == read_packs(store, "other", KIND, ["x"]) == {}


def test_the_same_pack_twice_is_one(store: Store) -> None:
    for _ in range(2):
        write_pack(store, "features", KIND, arrays("x", "y"))
    assert len(store.entries()) == 1
    write_pack(store, "features", KIND, arrays("y", "w"))
    assert same(read_packs(store, "features", KIND, "wxy"), arrays("w", "x", "y"))


@pytest.mark.parametrize("position", [0, 5, -1])
def test_a_torn_pack_is_none(store: Store, position: int) -> None:
    write_pack(store, "features", KIND, arrays("x", "y"))
    write_pack(store, "features", KIND, arrays("z"))
    ((path, _, _),) = [entry for entry in store.entries() if b'"x"' in entry[0].read_bytes()]
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(content)
    assert same(read_packs(store, "features", KIND, "xyz"), arrays("z"))


def test_a_pack_that_was_never_finished_is_none(store: Store) -> None:
    write_pack(store, "features", KIND, arrays("x"))
    ((path, _, _),) = store.entries()
    path.with_name(f"{path.name}.json").unlink()
    assert read_packs(store, "features", KIND, ["x"]) == {}
