import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actrec.errors import UserError
from actrec.store.alone import alone

REPO = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from actrec.store.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Return another process that holds the lock until it is killed or its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "models/.lock")]
    with subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_whoever_comes_second_is_refused_until_the_first_is_gone(holder, tmp_path):
    lock = tmp_path / "models/.lock"
    with pytest.raises(UserError, match=r"^busy$"), alone(lock, refusing="busy"):
        raise AssertionError("it is held")
    holder.kill()  # as SIGKILL ends whoever holds it
    holder.wait()
    for _ in range(2):
        with alone(lock, refusing="busy"):
            pass


def test_whoever_comes_second_waits_and_says_so_once(holder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("actrec.store.alone._POLL_S", 0.01)
    threading.Timer(0.5, holder.stdin.close).start()
    with alone(tmp_path / "models/.lock", waiting="waiting for another"):
        assert holder.wait(timeout=120) == 0
    assert capsys.readouterr().err == "waiting for another\n"
