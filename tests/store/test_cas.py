"""The store: what is found again, what is not, and what pruning takes."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from actrec.store.cas import Store, item_key, link_or_copy, open_store, store_root

KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_what_was_put_is_found(store):
    put = store.put("frames", KEY, b"pixels")
    found = store.find("frames", KEY)
    assert found == put
    assert found.path.read_bytes() == b"pixels"
    assert (found.sha256, found.size_bytes) == (hashlib.sha256(b"pixels").hexdigest(), 6)


def test_what_is_written_is_found_once_it_is_recorded_after_its_sync(store, monkeypatch):
    written = store.write("frames", KEY, b"pixels")
    assert store.find("frames", KEY) is None
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(store.find("frames", KEY)))
    store.record(written)
    assert store.find("frames", KEY) == written and synced == [None]


def test_stages_and_keys_do_not_mix(store):
    store.put("frames", KEY, b"pixels")
    assert store.find("mels", KEY) is None
    assert store.find("frames", OTHER) is None


def test_empty_content_is_content(store):
    store.put("frames", KEY, b"")
    assert store.find("frames", KEY).size_bytes == 0


def test_an_entry_without_its_record_was_never_finished(store):
    path = store.put("frames", KEY, b"pixels").path
    path.with_name(path.name + ".json").unlink()
    assert store.find("frames", KEY) is None
    assert store.entries() == []
    assert store.put("frames", KEY, b"pixels") == store.find("frames", KEY)


@pytest.mark.parametrize("damage", ["short", "long", "gone"])
def test_an_entry_whose_file_changed_its_size_is_not_found(store, damage):
    path = store.put("frames", KEY, b"pixels").path
    path.chmod(0o644)
    match damage:
        case "short":
            path.write_bytes(b"pix")
        case "long":
            path.write_bytes(b"pixels and more")
        case "gone":
            path.unlink()
    assert store.find("frames", KEY) is None
    store.put("frames", KEY, b"pixels")
    assert store.find("frames", KEY).path.read_bytes() == b"pixels"


@pytest.mark.parametrize("content", [b"", b"\0" * 60, b"{", b"\xff"])
def test_a_damaged_record_is_none(store, content):
    path = store.put("frames", KEY, b"pixels").path
    path.with_name(path.name + ".json").write_bytes(content)
    assert store.find("frames", KEY) is None


def test_items_cannot_be_written_to_by_accident(store, tmp_path):
    """Outs are hard links to them: a program that edits an out would edit the store."""
    path = store.put("frames", KEY, b"pixels").path
    link_or_copy(path, tmp_path / "out.pt")
    for file in (path, tmp_path / "out.pt"):
        assert stat.S_IMODE(file.stat().st_mode) & 0o222 == 0


def test_a_store_that_others_own_can_be_read(store, monkeypatch):
    put = store.put("frames", KEY, b"pixels")

    def refused(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)
    assert store.find("frames", KEY) == put


def test_a_link_or_else_a_copy(store, tmp_path, monkeypatch):
    path = store.put("frames", KEY, b"pixels").path
    link_or_copy(path, tmp_path / "link")
    assert (tmp_path / "link").samefile(path)

    def refused(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    link_or_copy(path, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"pixels" and not (tmp_path / "copy").samefile(path)


def used(store, key, at_s):
    """Make an entry of 10 bytes that was last used at `at_s`."""
    path = store.put("frames", key, b"x" * 10).path
    os.utime(path.with_name(path.name + ".json"), (at_s, at_s))


def test_prune_takes_the_longest_unused_first(store):
    keys = [f"{i:02x}" * 32 for i in range(4)]
    for key, at_s in zip(keys, [300, 100, 400, 200], strict=True):
        used(store, key, at_s)
    assert [path.name for path, _, _ in store.entries()] == [keys[1], keys[3], keys[0], keys[2]]
    assert store.prune(25) == 20
    assert [store.find("frames", key) is not None for key in keys] == [True, False, True, False]
    assert store.prune(20) == 0
    assert store.prune(0) == 20
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_finding_counts_as_use(store):
    used(store, KEY, 100)
    used(store, OTHER, 200)
    store.find("frames", KEY)
    assert store.prune(10) == 10
    assert store.find("frames", KEY) and not store.find("frames", OTHER)


def test_finding_does_not_touch_the_item(store):
    """DVC takes an out, a link to the item, for changed when its time is."""
    path = store.put("frames", KEY, b"pixels").path
    os.utime(path, (100, 100))
    store.find("frames", KEY)
    assert path.stat().st_mtime == 100


def test_prune_leaves_outs_alone_and_takes_old_temporaries(store, tmp_path):
    path = store.put("frames", KEY, b"pixels").path
    link_or_copy(path, tmp_path / "out")
    old, new = path.with_name(".old"), path.with_name(".new")
    for file in (old, new):
        file.write_bytes(b"")
    os.utime(old, (100, 100))
    store.prune(0)
    assert (tmp_path / "out").read_bytes() == b"pixels"
    assert new.exists() and not old.exists()


def test_an_empty_store_has_nothing_to_prune(store):
    assert store.entries() == [] and store.prune(0) == 0


@pytest.mark.parametrize(
    ("chosen", "expected"), [("off", None), ("/x/y", Path("/x/y")), ("rel", Path("rel").absolute())]
)
def test_the_environment_chooses_the_folder(monkeypatch, chosen, expected):
    monkeypatch.setenv("ACTREC_CACHE", chosen)
    assert store_root() == expected


def test_by_default_it_is_the_user_s_cache_folder(monkeypatch):
    from platformdirs import user_cache_path

    for value in ("", None):
        monkeypatch.setenv("ACTREC_CACHE", value) if value is not None else monkeypatch.delenv("ACTREC_CACHE")
        assert store_root() == user_cache_path("actrec")


def test_switched_off_it_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("ACTREC_CACHE", "off")
    near = tmp_path / "data/out"
    with open_store(near) as store:
        store.put("frames", KEY, b"pixels")
        assert store.find("frames", KEY)
        assert store.root.parent == near.parent  # the same disk, so that outs can be links
    with pytest.raises(RuntimeError, match="x"), open_store(near) as store:
        store.put("frames", KEY, b"pixels")
        raise RuntimeError("x")
    assert list(near.parent.iterdir()) == []


def test_switched_on_it_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    with open_store(tmp_path / "out") as store:
        store.put("frames", KEY, b"pixels")
    with open_store(tmp_path / "elsewhere") as store:
        assert store.find("frames", KEY)


def test_keys_differ_by_code_settings_and_bytes():
    keys = {
        item_key("v1", {"size_px": 64}, "aa"),
        item_key("v2", {"size_px": 64}, "aa"),
        item_key("v1", {"size_px": 65}, "aa"),
        item_key("v1", {"width_px": 64}, "aa"),
        item_key("v1", {"size_px": None}, "aa"),
        item_key("v1", {"size_px": "64"}, "aa"),
        item_key("v1", {"size_px": 64}, "bb"),
        item_key("v1", {"size_px": 64}, "a", "a"),
        item_key("v1", {"size_px": 64}, "aa", ""),
        item_key("v1", {"size_px": 64}),
    }
    assert len(keys) == 10 and all(len(key) == 64 for key in keys)


def test_keys_do_not_depend_on_the_order_of_settings():
    assert item_key("v", {"a": 1, "b": {"c": 2, "d": 3}}) == item_key("v", {"b": {"d": 3, "c": 2}, "a": 1})
