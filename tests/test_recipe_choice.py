"""`actrec recipe` without a name: in a terminal it asks, elsewhere it lists."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from actrec.errors import UserError
from actrec.recipes import describe_all, named

REPO = Path(__file__).resolve().parents[1]
ASKED = b"Which one, by number or name?"


@pytest.fixture
def project(tmp_path):
    """Return a folder with three recipes."""
    (tmp_path / "recipes").mkdir()
    for name in ("demo", "folder", "images"):
        shutil.copy(REPO / f"recipes/{name}.yaml", tmp_path / "recipes")
    return tmp_path


def in_terminal(folder, answer):
    """Return what a terminal shows of the command, and its exit code; `answer` is typed when it asks."""
    terminal, end = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(REPO), "TERM": "dumb"}
    command = subprocess.Popen(
        [sys.executable, "-m", "actrec", "recipe"], cwd=folder, env=environment, stdin=end, stdout=end, stderr=end
    )
    os.close(end)
    shown, has_answered = b"", False
    while select.select([terminal], [], [], 60)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the command has ended
            break
        if ASKED in shown and not has_answered:
            os.write(terminal, f"{answer}\n".encode())
            has_answered = True
    os.close(terminal)
    return shown.decode().replace("\r\n", "\n"), command.wait(timeout=60)


@pytest.mark.parametrize("answer", ["2", "folder", " 2 "])
def test_a_recipe_is_picked_by_its_number_or_name(project, answer):
    shown, code = in_terminal(project, answer)
    listed = re.findall(r"^  (\d) (\S+)  ", shown, flags=re.MULTILINE)
    assert listed == [("1", "demo"), ("2", "folder"), ("3", "images")]
    assert code == 0 and "params.yaml is now the recipe folder. Data: data/raw/clips" in shown
    assert "(data.root), a folder a class: that folder is not there yet. Run it: dvc repro" in shown
    assert (project / "params.yaml").read_bytes() == (project / "recipes/folder.yaml").read_bytes()


def test_enter_alone_changes_nothing(project):
    shown, code = in_terminal(project, "")
    assert code == 0 and "is now" not in shown
    assert not (project / "params.yaml").exists()


@pytest.mark.parametrize(
    ("answer", "error"),
    [("4", "there is no recipe number 4: expected 1 to 3, or a name"), ("fodler", "Did you mean folder?")],
)
def test_an_answer_that_is_none_is_refused(project, answer, error):
    shown, code = in_terminal(project, answer)
    assert code == 1 and error in " ".join(shown.split())
    assert not (project / "params.yaml").exists()


def test_without_a_terminal_nothing_is_asked(project):
    command = [sys.executable, "-m", "actrec", "recipe"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=project, env=environment, input="2\n", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == describe_all(project / "recipes", project / "params.yaml")
    assert not (project / "params.yaml").exists()


def test_a_recipe_that_cannot_be_read_hides_no_other(project):
    (project / "recipes/broken.yaml").write_text("# Half written.\ndata: {root: ")
    lines = describe_all(project / "recipes", project / "params.yaml")
    assert lines[0].split() == ["broken", "Half", "written."] and lines[1].strip().startswith("It cannot be read, or")
    assert any("which its stage demo draws" in line for line in lines)


def test_numbers_are_those_of_the_list_and_a_name_comes_first(project):
    recipes = project / "recipes"
    assert [named(str(number), recipes) for number in (1, 2, 3)] == ["demo", "folder", "images"]
    shutil.copy(recipes / "demo.yaml", recipes / "3.yaml")
    assert [named(answer, recipes) for answer in ("1", "2", "3", "4", "xyz")] == ["3", "demo", "3", "images", "xyz"]
    with pytest.raises(UserError, match="there is no recipe number 0: expected 1 to 4"):
        named("0", recipes)
