"""How commands end: 0 all is well, 1 the user can mend it, 2 wrong usage, 3 our bug, 130 interrupted."""

import errno
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from actrec.cli import app
from actrec.errors import UserError
from tools.deps import STAGES

REPO = Path(__file__).resolve().parents[1]
COMMANDS = list(typer.main.get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]
# Of each command a line that its user can mend, in a folder that has recipes and nothing else; and what is said.
MENDABLE = {
    "recipe": ("actrec recipe xyz", "no recipe 'xyz' in recipes/. Known: cars, "),
    "predict": ("actrec predict nowhere.mp4", "nowhere.mp4: no such file or folder"),
    "compare": ("actrec compare --out table.txt", "--out is table.txt: expected a name that ends in .csv or .md"),
    "sweep": ("actrec sweep xyz", "no sweep 'xyz'"),
    "fuse": ("actrec fuse 3:1", "results/scores.npz: "),
    "export": ("actrec export --to svm.skops", "models/best.pt: no checkpoint here. Train one: dvc repro"),
    "images": ("actrec images nowhere.parquet --to new", "nowhere.parquet"),
    "skeletons": ("actrec skeletons nowhere.mp4 --weights w.onnx", "nowhere.mp4: no such file or folder"),
    "cache": ("actrec cache --prune many", "--prune is 'many', expected a size such as 500MB or 20GB"),
}
CANNOT_FAIL = {"schema"}
FIRST_LINES = ["actrec schema", "python -m pipeline.mels"]


pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Be in a folder that has recipes, and a store of its own."""
    shutil.copytree(REPO / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    return tmp_path


def fails(error):
    def function(*_, **__):
        raise error

    return function


# --- 0 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["actrec schema", "actrec recipe demo", "actrec recipe --list", "actrec cache"])
def test_a_command_that_has_done_its_work(typed, line):
    assert typed(line)[0] == 0


@pytest.mark.parametrize("stage", ["features", "mels", "skeletons"])
def test_a_stage_that_has_done_its_work(typed, project, stage):
    shutil.copy("recipes/demo.yaml", "params.yaml")
    assert typed(f"python -m pipeline.{stage}") == (0, "")


@pytest.mark.parametrize("program", ["actrec", *(f"actrec {name}" for name in COMMANDS)])
def test_help_is_no_failure(typed, program):
    assert typed(f"{program} --help") == (0, "")


# --- 1 ----------------------------------------------------------------------------------------------------------------


def test_every_command_is_tried():
    assert sorted(COMMANDS) == sorted({*MENDABLE, *CANNOT_FAIL})


@pytest.mark.parametrize("name", MENDABLE)
def test_what_the_user_can_mend(typed, name):
    line, expected = MENDABLE[name]
    code, said = typed(line)
    assert code == 1 and said.startswith("error: ") and expected in said
    assert "bug" not in said and "Traceback" not in said


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_params_says_how_to_get_them(typed, stage):
    code, said = typed(f"python -m pipeline.{stage}")
    assert (code, said) == (1, "error: params.yaml: no such file. Write one: python -m actrec recipe demo\n")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_checks_all_of_params_first(typed, stage):
    text = Path("recipes/demo.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("batch_size: 32", "batch_size: 0"), encoding="utf-8")
    code, said = typed(f"python -m pipeline.{stage}")
    assert code == 1
    assert said == "error: params.yaml: evaluate.batch_size is 0: input should be greater than or equal to 1.\n"


@pytest.mark.parametrize("stage", ["ingest", "frames", "mels", "skeletons", "features", "train", "evaluate"])
def test_a_stage_before_its_time_names_the_one_before(typed, stage):
    """By hand a stage can be run too early; each says what has to come first."""
    text = Path("recipes/wildlife-demo.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text, encoding="utf-8")
    if stage in ("skeletons", "features"):
        text = Path("recipes/rgbpose-demo.yaml" if stage == "skeletons" else "recipes/linear-probe.yaml").read_text()
        Path("params.yaml").write_text(text, encoding="utf-8")
    code, said = typed(f"python -m pipeline.{stage}")
    assert code == 1 and "bug" not in said
    assert "no such folder" in said if stage == "ingest" else "dvc repro" in said


REFUSALS = {
    errno.ENOSPC: "actrec cache --prune 10GB",
    errno.EDQUOT: "actrec cache --prune 10GB",
    errno.EACCES: "permissions",
    errno.EROFS: "permissions",
    errno.EMFILE: "run the same again",
}


@pytest.mark.parametrize("number", REFUSALS, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("line", FIRST_LINES)
def test_what_the_machine_refuses_is_no_bug(typed, monkeypatch, number, line):
    refuse_everything(monkeypatch, OSError(number, os.strerror(number), "some/file"))
    code, said = typed(line)
    assert code == 1 and "some/file" in said and os.strerror(number) in said
    assert REFUSALS[number] in said and "bug" not in said


def refuse_everything(monkeypatch, error):
    """Let the first thing that either of FIRST_LINES does fail."""
    monkeypatch.setattr("actrec.params.schema.Params.model_json_schema", fails(error))
    monkeypatch.setattr("pipeline.mels.load", fails(error))


def test_a_folder_in_the_way_is_named(typed, project):
    """For real: params.yaml is a folder."""
    (project / "params.yaml").mkdir()
    code, said = typed("python -m pipeline.mels")
    assert code == 1 and "params.yaml" in said and "bug" not in said


# --- 2 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program", ["actrec", *(f"actrec {n}" for n in COMMANDS), *(f"python -m pipeline.{n}" for n in STAGES)]
)
def test_an_unknown_option_is_wrong_usage(typed, program):
    code, said = typed(f"{program} --nope")
    assert code == 2 and "No such option: --nope" in said
    assert f"{program} --help" in " ".join(said.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("actrec recepi", "Did you mean 'recipe'?"),
        ("actrec predict", "Missing argument 'source'"),
        ("actrec predict a.mp4 --window-s 0", "0.05"),
        ("actrec export", "Missing option '--to'"),
        ("actrec recipe demo more", "unexpected extra argument"),
        ("python -m pipeline.frames more", "unexpected extra argument"),
        ("python -m pipeline.frames --params", "requires an argument"),
    ],
)
def test_wrong_usage_says_what_is_wrong(typed, line, expected):
    code, said = typed(line)
    assert code == 2 and expected in said and "Traceback" not in said


# --- 3 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", FIRST_LINES)
def test_an_unforeseen_error_says_how_to_report_it(typed, monkeypatch, line):
    refuse_everything(monkeypatch, ZeroDivisionError("division by zero"))
    code, said = typed(line)
    first, *more = said.splitlines()
    assert code == 3 and "Traceback" not in said
    # The last of our own functions on the way, which is this one's caller.
    assert re.fullmatch(
        r"error: a bug in actrec: ZeroDivisionError: division by zero \((schema in cli|main in mels)\.py:\d+\)", first
    )
    assert all(text.startswith("error: ") for text in more) and "Please report it" in said
    assert re.search(r"actrec \S+.*, Python 3\.\d+\.\d+\S*, \S+", said)


@pytest.mark.parametrize("line", FIRST_LINES)
def test_the_command_that_a_report_asks_for_shows_the_traceback(typed, monkeypatch, line):
    refuse_everything(monkeypatch, ZeroDivisionError("division by zero"))
    told = re.search(r"the traceback that this shows: (.*)", typed(line)[1])
    assert told and told[1] != line
    code, said = typed(told[1])
    assert code == 3 and said.startswith("Traceback (most recent call last)")
    assert said.count("Please report it") == 1 and "the traceback above" in said


def test_the_arguments_of_a_report_can_be_pasted(typed, monkeypatch):
    monkeypatch.setattr("actrec.predict.find_files", fails(KeyError("x")))
    code, said = typed("actrec predict 'my clip.mp4' --out \"it's.csv\"")
    told = re.search(r"this shows: (.*)", said)
    assert code == 3 and told
    assert shlex.split(told[1]) == ["actrec", "--debug", "predict", "my clip.mp4", "--out", "it's.csv"]


def test_a_missing_file_that_nobody_foresaw_is_a_bug(typed, monkeypatch):
    refuse_everything(monkeypatch, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "some/file"))
    code, said = typed("actrec schema")
    assert code == 3 and "some/file" in said


@pytest.mark.parametrize("line", FIRST_LINES)
def test_debug_shows_the_traceback_of_what_can_be_mended_too(typed, monkeypatch, line):
    refuse_everything(monkeypatch, UserError("a: wrong"))
    assert typed(line) == (1, "error: a: wrong\n")
    program, *rest = line.split(" ") if line.startswith("actrec") else (line,)
    code, said = typed(" ".join([program, "--debug", *rest]))
    assert code == 1 and said.startswith("Traceback (most recent call last)") and said.endswith("\nerror: a: wrong\n")


# --- 130, and processes of their own ----------------------------------------------------------------------------------


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs these tests in the background of a shell script has given them a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here, to hold a command at a known place")
@pytest.mark.parametrize("arguments", [("pipeline.mels",), ("actrec", "recipe", "demo")], ids=["stage", "actrec"])
def test_an_interrupted_process(project, arguments):
    """A real ctrl-C, while the command waits for a params.yaml that never comes."""
    os.mkfifo("params.yaml")
    process = start(*arguments)
    pipe = opened_when_read("params.yaml")
    time.sleep(1)  # Python notices a signal before and during a read, not in between: 19 of 400 were then left waiting
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=120)
    os.close(pipe)
    assert (process.returncode, out) == (130, "")
    assert said == "interrupted; finished items are kept, the same command goes on from here\n"


def opened_when_read(path):
    """Return a handle of a named pipe, as soon as another process has begun to read it."""
    for _ in range(2400):
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody reads it")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("actrec", "recipe", "--list"), 0),
        (("actrec", "recipe", "xyz"), 1),
        (("actrec", "recipe", "--nope"), 2),
        (("pipeline.demo",), 1),
        (("pipeline.demo", "--nope"), 2),
    ],
)
def test_the_code_is_that_of_the_process(project, arguments, code):
    process = start(*arguments)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code and "Traceback" not in said


def test_a_bug_in_a_process_of_its_own(project):
    """A stage of the pipeline as dvc starts it, whose code is broken: `load` gives nothing."""
    (project / "sitecustomize.py").write_text("import actrec.params as p\np.load = lambda path: None\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project), str(REPO)])}
    command = [sys.executable, "-m", "pipeline.demo", "--params", "recipes/demo.yaml"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and "a bug in actrec: AttributeError: 'NoneType'" in done.stderr
    assert "this shows: python -m pipeline.demo --debug --params recipes/demo.yaml\n" in done.stderr
