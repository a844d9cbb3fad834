"""Processes that run one block together. The scripts here know nothing of torch: what counts is how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import indent

import psutil
import pytest

from actrec.training import processes
from actrec.training.processes import place, together

REPO = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {repo!r})
from actrec.console import run
from actrec.errors import UserError
from actrec.training.processes import place, together
import actrec.training.processes as processes
processes._NOTICE_S = 0.5
out = Path(sys.argv[1])

def block():
    rank = place().rank
    (out / f"started {{rank}}").write_text(str(os.getpid()))
{block}
    (out / f"done {{rank}}").touch()

def main(folder: str):
    with together({size}, [__file__, folder], lock=Path(folder, "lock")):
        block()

run(main)
"""
FOREVER = "time.sleep(600)"


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    """Let no test that runs beside these leave its files where these look for what is left."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


def write_script(folder, block, *, size=2):
    path = folder / "script.py"
    path.write_text(SCRIPT.format(repo=str(REPO), size=size, block=indent(block, "    ")), encoding="utf-8")
    return path


def start(folder, block, *, size=2):
    """Start the block, and wait until all processes are in it; return the first of them, and all their ids."""
    process = subprocess.Popen(
        [sys.executable, write_script(folder, block, size=size), folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever runs these tests in the background of a shell script has given them a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    names = [folder / f"started {rank}" for rank in range(size)]
    wait_until(lambda: process.poll() is not None or all(name.exists() and name.read_text() for name in names))
    return process, [int(name.read_text()) for name in names if name.exists()]


def wait_until(is_so, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def left_behind():
    return {path for path in Path(os.environ["TMPDIR"]).glob("actrec-*/?.log")}


def test_alone_the_block_just_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "TemporaryDirectory", None)
    with together(1, [], lock=tmp_path / "lock"):
        pass


def test_all_processes_run_the_block_and_the_first_waits_for_the_others(tmp_path):
    process, pids = start(tmp_path, "time.sleep(0.3 * rank)\nprint('rank', rank, flush=True)", size=3)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and len(set(pids)) == 3
    assert text == "rank 0\n"  # only the first is heard
    assert all((tmp_path / f"done {rank}").exists() for rank in range(3))
    assert all(ended(pid) for pid in pids)


def test_a_process_knows_where_it_stands_and_the_first_forgets_it(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "7")  # of a launcher around this one
    script = write_script(tmp_path, "assert place().size == 2 and place().meeting.parent.is_dir()")
    with together(2, [str(script), str(tmp_path)], lock=tmp_path / "lock"):
        here = place()
    assert (here.rank, here.size) == (0, 2) and not here.meeting.exists()
    assert os.environ["LOCAL_RANK"] == "7" and "ACTREC_PROCESSES" not in os.environ
    assert (tmp_path / "done 1").exists()


FAIL_IN_OTHER = "if rank == 1: raise UserError('the disk is full')\n"
# What gloo does: a process whose partner has gone learns it by an error.
NOTICED = "else:\n    time.sleep(0.2); raise RuntimeError('Connection closed by peer')"


@pytest.mark.parametrize("noticed", [NOTICED, f"else: {FOREVER}"], ids=["an error here", "stuck here"])
def test_if_another_fails_its_last_words_are_said_and_all_end(tmp_path, noticed):
    before = left_behind()
    process, pids = start(tmp_path, FAIL_IN_OTHER + noticed)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert text.splitlines()[0] == (
        "error: process 2 of the 2 that train.devices asks for ended with status 1: the disk is full"
    )
    assert "bug" not in text and all(ended(pid) for pid in pids) and left_behind() == before


def test_a_bug_in_another_is_told_as_it_told_it(tmp_path):
    process, _ = start(tmp_path, f"if rank == 1: 1 / 0\nelse: {FOREVER}")
    text, _ = process.communicate(timeout=120)
    assert "ended with status 3: a bug in actrec: ZeroDivisionError: division by zero" in text


def test_kill_9_of_another_ends_all(tmp_path):
    process, pids = start(tmp_path, FOREVER, size=3)
    os.kill(pids[2], signal.SIGKILL)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "process 3 of the 3" in text and "was ended by SIGKILL, as when memory" in text
    wait_until(lambda: all(ended(pid) for pid in pids))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_others_end_with_the_first_however_it_does(tmp_path, number):
    before = left_behind()
    process, pids = start(tmp_path, FOREVER)
    os.kill(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode == -number
    wait_until(lambda: ended(pids[1]))
    assert left_behind() == before


def test_ctrl_c_is_said_once(tmp_path):
    """A terminal sends it to all processes."""
    process, pids = start(tmp_path, FOREVER)
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and text.count("interrupted") == 1 and "Traceback" not in text
    assert all(ended(pid) for pid in pids)


def test_an_error_here_is_told_as_it_is(tmp_path):
    process, pids = start(tmp_path, f"if rank == 0: raise UserError('lr is too large')\nelse: {FOREVER}")
    text, _ = process.communicate(timeout=120)
    assert (process.returncode, text) == (1, "error: lr is too large\n")
    wait_until(lambda: all(ended(pid) for pid in pids))


def test_a_bug_here_is_told_as_it_is(tmp_path):
    process, _ = start(tmp_path, f"if rank == 0: 1 / 0\nelse: {FOREVER}")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 3 and "ZeroDivisionError" in text and "process 2" not in text
