"""Files appear whole or not at all: with a full disk, and when the writer is killed."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actrec.errors import UserError
from actrec.store import files
from actrec.store.files import write_atomic

REPO = Path(__file__).resolve().parents[2]


def test_bytes_and_text_are_written_as_they_are(tmp_path):
    write_atomic(tmp_path / "new/a", b"\x00\r\n")
    write_atomic(tmp_path / "new/b", "é\n")
    assert (tmp_path / "new/a").read_bytes() == b"\x00\r\n"
    assert (tmp_path / "new/b").read_bytes() == b"\xc3\xa9\n"
    write_atomic(tmp_path / "new/a", b"")
    assert (tmp_path / "new/a").read_bytes() == b""
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a", "b"]


def test_the_mode_is_that_of_other_files(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    write_atomic(tmp_path / "ours", b"")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path):
    write_atomic(tmp_path / ("é" * 120), b"x")
    assert (tmp_path / ("é" * 120)).read_bytes() == b"x"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["open", "fdopen", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, where, number):
    path = tmp_path / "a.pt"
    path.write_bytes(b"old")

    def full(*_, **__):
        raise OSError(number, os.strerror(number))

    owner = {"open": os, "fdopen": os, "fsync": os, "replace": Path}[where]
    monkeypatch.setattr(owner, where, full)
    with pytest.raises(UserError, match=r"a\.pt: the disk is full.*cache --prune"):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        write_atomic(disk / "a", b"x" * 20_000)
        with pytest.raises(UserError, match="the disk is full"):
            write_atomic(disk / "a", b"y" * 100_000)
        assert (disk / "a").read_bytes() == b"x" * 20_000
        assert [path.name for path in disk.iterdir()] == ["a"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"file/a: cannot be written \(Not a directory\)"):
        write_atomic(tmp_path / "file/a", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder: cannot be written \(Is a directory\)"):
        write_atomic(tmp_path / "folder", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "publish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from actrec.store.files import write_atomic
path, number = Path(sys.argv[1]), 0
while True:
    number += 1
    write_atomic(path, bytes([number % 256]) * 400_000)
    if number == 1:
        print("going", flush=True)
"""


def test_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    """20 kills at random moments of an endless rewriting: always 400,000 bytes of one value."""
    path, rng, seen = tmp_path / "a", random.Random(0), set()
    for _ in range(20):
        writer = subprocess.Popen(
            [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(REPO)!r})\n{WRITER}", str(path)],
            stdout=subprocess.PIPE,
        )
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"going\n"
            time.sleep(rng.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert len(content) == 400_000 and len(set(content)) == 1
        seen.add(content[0])
    assert len(seen) > 1, "every writer was killed at the same point"


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    abandoned = [files.temporary_name(".a.pt.").replace(str(os.getpid()), str(dead.pid)) for _ in range(2)]
    kept = [files.temporary_name(".a.pt."), files.temporary_name(".b.pt."), ".a.pt.elsewhere-1-00", "a.pt.1-2"]
    for name in (*abandoned, *kept):
        (tmp_path / name).write_bytes(b"half")
    write_atomic(tmp_path / "a.pt", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.pt", *kept])
