"""The out folder depends on the clips, the settings and the code alone, and only what is new is computed."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from actrec.errors import BadItem, UserError
from actrec.store import tree
from actrec.store.cas import Store, item_key
from actrec.store.tree import Job, Maker, build, read_index, write_stub

REPO = Path(__file__).resolve().parents[2]


def make(text):
    if text.startswith("bad"):
        raise BadItem("truncated", f"{text} is cut")
    return f"made of {text}\n".encode() * 10


def pack(members):
    return json.dumps({name: path.read_text() for name, path in members.items()}).encode()


def maker(version="v1"):
    return Maker("frames", ".pt", make, pack, version, 30.0, ())


def jobs_of(clips, version="v1"):
    """Return the jobs of {clip id: content}."""
    return [Job(name, item_key(version, {}, content), content) for name, content in clips.items()]


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path):
    """Return a function that builds the folder `out` from {clip id: content}."""

    def run(clips, *, out="out", store="store", workers=2, version="v1"):
        return build(
            tmp_path / out,
            jobs_of(clips, version),
            maker(version),
            about={"spec": {"size_px": 8}},
            store=Store(tmp_path / store),
            workers=workers,
        )

    return run


CLIPS = {f"person {i % 3}/é clip {i}.mp4": f"content {i}" for i in range(8)}


def test_a_file_a_clip_and_an_index(run, tmp_path, without_workers):
    built = run({**CLIPS, "bad": "bad one"})
    assert built.computed == len(CLIPS)
    (failed,) = built.failed
    assert (failed.item.clip_id, failed.reason, failed.message) == ("bad", "truncated", "bad one is cut")
    index = read_index(tmp_path / "out")
    assert (index["enabled"], index["sharded"], index["spec"]) == (True, False, {"size_px": 8})
    assert sorted(index["clips"]) == sorted(CLIPS)
    for clip_id, content in CLIPS.items():
        assert index["clips"][clip_id]["file"] == clip_id + ".pt"
        assert (tmp_path / "out" / (clip_id + ".pt")).read_bytes() == make(content)
    assert len(snapshot(tmp_path / "out")) == len(CLIPS) + 1


def test_the_bytes_are_the_same_for_any_workers_order_store_and_past(run, tmp_path):
    run(CLIPS, out="one", store="a", workers=1)
    expected = snapshot(tmp_path / "one")
    run(dict(reversed(CLIPS.items())), out="four", store="b", workers=4)
    assert snapshot(tmp_path / "four") == expected
    # The same store again, and an out folder that holds something else.
    (tmp_path / "one/stale.pt").write_bytes(b"")
    (tmp_path / ".one.new").mkdir()
    (tmp_path / ".one.new/rest of a killed run").write_bytes(b"")
    assert run(CLIPS, out="one", store="a").computed == 0
    assert snapshot(tmp_path / "one") == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "four", "one"]


def test_only_what_changed_is_computed(run, tmp_path, without_workers):
    assert run(CLIPS).computed == 8
    before = snapshot(tmp_path / "out")
    more = {**CLIPS, "new": "new content"}
    assert run(more).computed == 1
    assert set(snapshot(tmp_path / "out")) - set(before) == {"new.pt"}
    assert run(CLIPS).computed == 0  # one clip removed
    assert snapshot(tmp_path / "out") == before
    name = next(iter(CLIPS))
    assert run({**CLIPS, name: "other bytes"}).computed == 1
    assert (tmp_path / "out" / f"{name}.pt").read_bytes() == make("other bytes")
    assert run(CLIPS, version="v2").computed == 8  # other code
    assert run(CLIPS).computed == 0  # and back


def test_equal_bytes_under_two_names_are_computed_once(run, tmp_path, without_workers):
    built = run({"a": "same", "b": "same", "c": "bad", "d": "bad"})
    assert built.computed == 1
    assert (tmp_path / "out/a.pt").samefile(tmp_path / "out/b.pt")
    assert [outcome.item.clip_id for outcome in built.failed] == ["c", "d"]


def test_an_item_that_failed_is_tried_again(run, without_workers):
    assert [run({"a": "fine", "b": "bad"}).computed for _ in range(2)] == [1, 0]
    assert len(run({"a": "fine", "b": "bad"}).failed) == 1


def test_without_clips_there_is_an_index(run, tmp_path):
    assert run({}).computed == 0
    assert list(snapshot(tmp_path / "out")) == ["index.json"]


def test_a_stub_says_that_the_stage_is_off(run, tmp_path, without_workers):
    run({"a": "fine"})
    write_stub(tmp_path / "out")
    assert read_index(tmp_path / "out") == {"enabled": False}
    assert list(snapshot(tmp_path / "out")) == ["index.json"]


def test_a_folder_that_no_stage_made(tmp_path):
    with pytest.raises(UserError, match=r"the stage before has not run\. Run: dvc repro"):
        read_index(tmp_path)


# --- shards -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_shards(monkeypatch):
    """Shard above 10 clips, about 8 in a shard."""
    monkeypatch.setattr(tree, "MAX_SINGLE_FILES", 10)
    monkeypatch.setattr(tree, "_CLIPS_A_SHARD", 8)


def numbered(count):
    return {f"clip {i:03}": f"content {i}" for i in range(count)}


def test_many_clips_share_files(run, tmp_path, small_shards, without_workers):
    clips = numbered(40)
    assert run({**clips, "bad": "bad"}).computed == 40
    index = read_index(tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert index["sharded"]
    assert {clip["file"] for clip in index["clips"].values()} == files - {"index.json"}
    assert 4 <= len(files) - 1 <= 16
    for clip_id, content in clips.items():
        shard = json.loads((tmp_path / "out" / index["clips"][clip_id]["file"]).read_text())
        assert shard[clip_id] == make(content).decode()


def test_shards_do_not_depend_on_workers_order_or_store(run, tmp_path, small_shards):
    clips = numbered(24)
    run(clips, out="one", store="a", workers=1)
    run(dict(reversed(clips.items())), out="four", store="b", workers=4)
    assert run(clips, out="again", store="a").computed == 0
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "four") == snapshot(tmp_path / "again")


def test_one_clip_more_or_less_changes_one_shard(run, tmp_path, small_shards, without_workers):
    clips = numbered(40)
    run(clips)
    before = snapshot(tmp_path / "out")
    assert run({**clips, "clip new": "new"}).computed == 1
    after = snapshot(tmp_path / "out")
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert len(changed) == 2 and "index.json" in changed
    run(clips)
    assert snapshot(tmp_path / "out") == before


def test_other_code_packs_anew(run, tmp_path, small_shards, without_workers):
    """The same items, other shards: the digests of the members do not say how they are packed."""
    run(numbered(12))
    run(numbered(12), version="v2")
    assert Counter(
        path.relative_to(tmp_path / "store").parts[0] for path, *_ in Store(tmp_path / "store").entries()
    ) == {
        "frames": 24,
        "frames-shards": 2 * (len(snapshot(tmp_path / "out")) - 1),
    }


@pytest.mark.parametrize(("clips", "shards"), [(5001, 32), (8192, 32), (8193, 64), (50_000, 256)])
def test_shards_double_as_clips_do(clips, shards):
    found = tree._shard(f"clip {i}" for i in range(clips))
    sizes = [len(members) for members in found.values()]
    assert len(sizes) == shards and sum(sizes) == clips
    assert max(sizes) < 2 * clips / shards


# --- a run that is killed -----------------------------------------------------------------------------------------

SCRIPT = """
import sys, time
from pathlib import Path
from actrec.store.cas import Store, item_key
from actrec.store.tree import Job, Maker, build

def make(text):
    time.sleep(0.05)
    return text.encode() * 100

def pack(members):
    return b""

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    jobs = [Job(f"clip {i}", item_key("v1", {}, str(i)), f"content {i}") for i in range(40)]
    maker = Maker("frames", ".pt", make, pack, "v1", 30.0, ())
    print(build(folder / "out", jobs, maker, about={}, store=Store(folder / "store"), workers=2).computed)
"""


def test_killed_half_way_it_goes_on_and_ends_the_same(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    def finished():
        return len(list((killed / "store").glob("*/??/*.json")))

    with subprocess.Popen([*command, str(killed)], env=environment, stderr=subprocess.DEVNULL) as process:
        while finished() < 10 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    done = finished()
    assert 10 <= done < 40 and not (killed / "out").exists()

    def run(folder):
        done = subprocess.run([*command, str(folder)], env=environment, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert 0 < run(killed) <= 40 - done
    assert run(whole) == 40
    assert snapshot(killed / "out") == snapshot(whole / "out")
    assert len(snapshot(killed / "out")) == 41


def test_a_disk_that_is_full_at_its_sync_stops_the_run_and_the_item_is_made_again(run, tmp_path, monkeypatch):
    """The workers have written; it is here that the disk is asked whether it has it."""

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="the disk is full"):
            run(CLIPS)
    assert not (tmp_path / "out").exists() and Store(tmp_path / "store").entries() == []
    assert run(CLIPS).computed == len(CLIPS)
