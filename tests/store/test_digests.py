import hashlib
import os
import sqlite3

import pytest

from actrec.data.problems import Problems
from actrec.errors import UserError
from actrec.store import digests
from actrec.store.digests import Memory, digest_files, inspect_clips, inspect_files

LONG_AGO = 1_600_000_000


def written(path, content, mtime_s=LONG_AGO):
    path.write_bytes(content)
    os.utime(path, (mtime_s, mtime_s))
    return path


@pytest.fixture
def read(monkeypatch):
    """Return the list of files that were read for their digest."""
    files = []
    real = digests._sha256
    monkeypatch.setattr(digests, "_sha256", lambda path: files.append(path.name) or real(path))
    return files


@pytest.fixture
def looked_into(monkeypatch):
    """Return the list of files whose headers were read."""
    files = []
    real = digests.run_each
    monkeypatch.setattr(
        digests, "run_each", lambda work, items, **k: files.extend(i.name for i in items) or real(work, items, **k)
    )
    return files


def digest(folder, *paths):
    with Memory(folder) as memory:
        return digest_files(paths, memory=memory)


def test_digests_are_sha256(tmp_path):
    path = written(tmp_path / "é a.mp4", b"abc")
    assert digest(None, path) == {path: hashlib.sha256(b"abc").hexdigest()}
    assert digest(None) == {}


def test_what_did_not_change_is_not_read_again(tmp_path, read):
    a, b = written(tmp_path / "a", b"one"), written(tmp_path / "b", b"two")
    first = digest(tmp_path / "store", a, b)
    assert digest(tmp_path / "store", a, b) == first
    assert sorted(read) == ["a", "b"]


@pytest.mark.parametrize("change", ["content", "size", "inode"])
def test_what_changed_is_read_again(tmp_path, read, change):
    path = written(tmp_path / "a", b"one")
    digest(tmp_path / "store", path)
    match change:
        case "content":
            written(path, b"two", LONG_AGO + 1)
        case "size":
            written(path, b"three")
        case "inode":  # another file moved here, with the old size and times
            written(tmp_path / "new", b"two").replace(path)
    assert digest(tmp_path / "store", path)[path] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(read) == 2


def test_a_file_that_may_still_be_written_is_not_remembered(tmp_path, read):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    digest(tmp_path / "store", path)
    digest(tmp_path / "store", path)
    assert read == ["a", "a"]


def test_without_a_folder_nothing_is_left(tmp_path, read):
    path = written(tmp_path / "a", b"one")
    digest(None, path)
    digest(None, path)
    assert read == ["a", "a"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_memory_costs_time_not_results(tmp_path, capsys):
    path = written(tmp_path / "a", b"one")
    (tmp_path / "store").mkdir()
    (tmp_path / "store/files.sqlite3").write_bytes(b"not a database" * 100)
    assert digest(tmp_path / "store", path) == {path: hashlib.sha256(b"one").hexdigest()}
    assert "files.sqlite3" in capsys.readouterr().err


def test_a_memory_that_fails_in_between_costs_time_not_results(tmp_path, read, capsys):
    path = written(tmp_path / "a", b"one")
    digest(tmp_path / "store", path)
    with sqlite3.connect(tmp_path / "store/files.sqlite3") as database:
        database.execute("DROP TABLE digests")
        database.execute("CREATE TABLE digests (path BLOB, other TEXT)")
    database.close()
    assert digest(tmp_path / "store", path)[path] == hashlib.sha256(b"one").hexdigest()
    assert len(read) == 2 and "cannot be used" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_stops_the_run(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        digest(None, tmp_path / "nowhere")


def test_headers_are_read_once_for_equal_bytes(tmp_path, make_clip, looked_into):
    path = make_clip(tmp_path / "a.mp4")
    copy, text = tmp_path / "b.mp4", written(tmp_path / "c.mp4", b"#EXTM3U\nother.ts\n")
    copy.write_bytes(path.read_bytes())
    with Memory(tmp_path / "store") as memory:
        found = inspect_files([copy, path, text], memory=memory)
    assert looked_into == ["a.mp4", "c.mp4"]
    assert found[path] == found[copy]
    facts = found[path].facts
    assert facts is not None and facts.num_frames == 4
    assert found[path].size_bytes == path.stat().st_size
    assert (found[text].facts, found[text].reason) == (None, "playlist")

    moved = path.rename(tmp_path / "d.mp4")
    with Memory(tmp_path / "store") as memory:
        again = inspect_files([moved, copy, text], memory=memory)
    assert len(looked_into) == 2
    assert (again[moved], again[text]) == (found[path], found[text])


def test_other_code_looks_again(tmp_path, make_clip, looked_into, monkeypatch):
    path = make_clip(tmp_path / "a.mp4")
    for version in ("one", "one", "two"):
        monkeypatch.setattr(digests, "code_version", lambda *_, version=version: version)
        with Memory(tmp_path / "store") as memory:
            inspect_files([path], memory=memory)
    assert looked_into == ["a.mp4", "a.mp4"]


def test_the_memory_can_be_shared(tmp_path):
    path = written(tmp_path / "a", b"one")
    with Memory(tmp_path / "store") as one, Memory(tmp_path / "store") as two:
        assert digest_files([path], memory=one) == digest_files([path], memory=one)
        one._database.commit()
        assert digest_files([path], memory=two)[path] == hashlib.sha256(b"one").hexdigest()
    with sqlite3.connect(tmp_path / "store/files.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM digests").fetchone() == (1,)
    database.close()


def test_the_sound_of_silent_files_is_looked_for_beside_them(tmp_path, make_clip, looked_into):
    film = make_clip(tmp_path / "a.mp4")
    talkie = make_clip(tmp_path / "b.mp4", 3, with_audio=True)
    for name in ("a.ogg", "b.wav"):
        (tmp_path / name).write_bytes(b"no sound at all")
    problems = Problems("here")
    with Memory(None) as memory:
        files, sounds = inspect_clips({"a.mp4": film, "b.mp4": talkie}, root=tmp_path, memory=memory, problems=problems)
    assert looked_into == ["a.mp4", "b.mp4", "a.ogg"]
    assert files["a.mp4"].sha256 == hashlib.sha256(film.read_bytes()).hexdigest()
    (sound,) = sounds.values()
    assert list(sounds) == ["a.mp4"] and (sound.path, sound.file.reason) == ("a.ogg", "not_media")


def test_others_can_write_while_a_run_goes_on(tmp_path, monkeypatch):
    """What is new waits in memory, and is written once a second: hashing a folder takes minutes."""
    clock = [100.0]
    monkeypatch.setattr(digests.time, "monotonic", lambda: clock[0])
    path = tmp_path / "a"
    with Memory(tmp_path / "store") as memory, sqlite3.connect(tmp_path / "store/files.sqlite3", timeout=0) as other:
        memory.keep_digest(path, "1", "x")
        other.execute("INSERT INTO digests VALUES (?, ?, ?)", (b"b", "1", "y"))
        other.commit()
        clock[0] += 1.5
        memory.keep_digest(path, "2", "z")
        assert other.execute("SELECT stat, sha256 FROM digests WHERE path != ?", (b"b",)).fetchall() == [("2", "z")]
        memory.keep_digest(path, "3", "w")
        assert memory.digest(path, "3") == "w"  # also before a second is over
    other.close()
