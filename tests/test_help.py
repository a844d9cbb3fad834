"""What a new user meets first: the help of each command with examples that work, and shell completion."""

import inspect
import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import shellingham
import typer

from actrec import cli, console
from actrec.cli import app
from actrec.params import load
from tools.deps import STAGES

REPO = Path(__file__).resolve().parents[1]
COLUMNS = 80
COMMANDS = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
ORDER = ["recipe", "predict", "compare", "sweep", "fuse", "export", "images", "skeletons", "cache", "schema"]
PROGRAMS = ["actrec", *(f"actrec {name}" for name in ORDER), *(f"python -m pipeline.{name}" for name in STAGES)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Be in a folder that has recipes and sweeps, and a store of its own."""
    for name in ("recipes", "sweeps"):
        shutil.copytree(REPO / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def typed(monkeypatch, capsys):
    """Return a function that runs a line as a shell would, in this process: exit code, standard output and error."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", False)  # no colours, also where a CI asks for them
    monkeypatch.setattr(console, "_debug", False)

    def typed(line):
        program, *arguments = shlex.split(line)
        command = cli.main
        if program == "python":
            command = stage_command(arguments[1])
            arguments = arguments[2:]
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit) as caught:
            command()
        return caught.value.code, *capsys.readouterr()

    return typed


def stage_command(module):
    return lambda: console.run(import_module(module).main)


def examples_in(help_text):
    """Return the lines below "Examples:", which are the last ones."""
    text = "\n".join(line.strip() for line in help_text.splitlines())
    return text.partition("\nExamples:\n")[2].strip().splitlines()


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_ends_with_two_examples_of_the_command(typed, program):
    code, said, _ = typed(f"{program} --help")
    found = examples_in(said)
    assert code == 0 and len(found) == 2
    assert all(f"{example} ".startswith(f"{program} ") for example in found)
    assert len(set(found)) == 2


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_line_of_an_example_is_broken(typed, program):
    found = examples_in(typed(f"{program} --help")[1])
    assert found == epilog_of(program).splitlines()[1:]
    assert max(map(len, found)) <= COLUMNS - 2  # a blank on either side


def epilog_of(program):
    """Return what was written to stand below the help of a command, as it was before it was laid out."""
    first, *rest = program.split()
    if first == "python":
        (info,) = console._single(import_module(rest[1]).main, program).registered_commands
    elif rest:
        (info,) = (info for info in app.registered_commands if info.callback and info.callback.__name__ == rest[0])
    else:
        info = app.info
    return info.epilog or ""


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_examples_are_parsed(typed, program):
    for example in examples_in(typed(f"{program} --help")[1]):
        words = shlex.split(example.partition(" > ")[0])
        if words[0] == "actrec":
            command, arguments = COMMANDS[words[1]], words[2:]
        else:
            command = typer.main.get_command(console._single(import_module(words[2]).main, program))
            arguments = words[3:]
        context = command.make_context(words[0], list(arguments))  # raises what a wrong line would be told
        if "--params" in arguments:
            load(REPO / context.params["params"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(["3:1", "--score", "x"], "No such option"), ([], "Missing parameter"), (["3:1", "4:1"], "unexpected extra")],
)
def test_a_wrong_example_would_be_found(wrong, said):
    with pytest.raises(Exception, match=said):
        COMMANDS["fuse"].make_context("actrec", wrong)


RUN = {
    "actrec recipe --list": "linear-probe",
    "actrec recipe linear-probe": "+ recipe: linear-probe",
    "actrec sweep optimiser-demo --dry-run": "dvc exp run --name optimiser-demo-00-adam-s0",
    "actrec cache": "prune it by",
    "actrec cache --prune 20GB": "prune it by",
    "actrec schema": '"title": "Params"',
}


@pytest.mark.parametrize("line", RUN)
def test_what_costs_nothing_is_run(project, typed, line):
    program = " ".join(line.split()[:2])
    assert line in examples_in(typed(f"{program} --help")[1])
    code, said, _ = typed(line)
    assert code == 0 and RUN[line] in said


@pytest.mark.parametrize("stage", ["features", "mels", "skeletons"])
def test_the_example_of_a_stage_that_the_demo_does_not_need_is_run(project, typed, stage):
    line = f"python -m pipeline.{stage} --params recipes/demo.yaml"
    assert line in examples_in(typed(f"python -m pipeline.{stage} --help")[1])
    assert typed(line) == (0, "", "")
    assert any((project / "data/processed/demo").iterdir())


def test_the_commands_stand_in_the_order_in_which_they_are_met(typed):
    code, alone, said = typed("actrec")
    listed = [line.split()[1] for line in alone.partition("─ Commands")[2].splitlines() if line.startswith("│ ")]
    assert listed == ORDER == list(COMMANDS)  # and each has one line, which is not broken
    assert (code, said) == (2, "")  # nothing was asked for: wrong usage
    assert typed("actrec --help")[1].strip() == alone.strip()


@pytest.mark.parametrize("name", ORDER)
def test_the_text_is_short_and_not_broken_oddly(typed, name):
    told = inspect.getdoc(COMMANDS[name].callback) or ""
    said = [line.strip() for line in typed(f"actrec {name} --help")[1].splitlines()]
    assert [line for line in told.splitlines() if line not in said] == []
    assert len(told.splitlines()) <= 6


# --- completion -------------------------------------------------------------------------------------------------------


@pytest.fixture
def completed(project, monkeypatch, capsys):
    """Return a function that gives what bash offers for a line whose end is being typed."""

    def completed(line):
        words = line.split(" ")
        monkeypatch.setenv("_ACTREC_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setattr(sys, "argv", ["actrec"])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == 0
        return capsys.readouterr().out.split()

    return completed


def test_names_of_recipes_are_completed(completed):
    assert completed("actrec recipe ima") == ["images", "images-demo", "images-hog"]
    assert completed("actrec recipe ") == sorted(path.stem for path in (REPO / "recipes").glob("*.yaml"))
    assert completed("actrec recipe xyz") == []


def test_names_of_sweeps_are_completed(completed):
    assert completed("actrec sweep opt") == ["optimiser", "optimiser-demo"]
    assert completed("actrec sweep ") == sorted(path.stem for path in (REPO / "sweeps").glob("*.yaml"))


def test_commands_and_options_are_completed(completed):
    assert completed("actrec s") == ["sweep", "skeletons", "schema"]
    assert completed("actrec sweep --re") == ["--restart", "--retry"]


def test_where_there_are_no_recipes_there_is_nothing_to_complete(completed, project):
    shutil.rmtree(project / "recipes")
    assert completed("actrec recipe ") == []


@pytest.mark.parametrize(
    ("shell", "expected"), [("zsh", "_arguments '*: :((\"sound\"))'"), ("fish", "sound"), ("powershell", "sound::: ")]
)
def test_other_shells_get_their_own_form(project, monkeypatch, capsys, shell, expected):
    monkeypatch.setenv("_ACTREC_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "actrec recipe sou")
    monkeypatch.setenv("_TYPER_COMPLETE_WORD_TO_COMPLETE", "sou")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setattr(sys, "argv", ["actrec"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out == f"{expected}\n"


RC = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/completions/actrec.fish"}


@pytest.mark.parametrize("shell", RC)
def test_completion_is_shown_and_installed_for_the_shell_in_use(tmp_path, typed, monkeypatch, shell):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shellingham, "detect_shell", lambda: (shell, f"/bin/{shell}"))
    code, script, _ = typed("actrec --show-completion")
    assert code == 0 and "_ACTREC_COMPLETE=complete_" in script.replace("env ", "")
    code, said, _ = typed("actrec --install-completion")
    assert code == 0 and f"{shell} completion installed" in said
    assert (tmp_path / RC[shell]).is_file()
    installed = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert script.strip() in [path.read_text(encoding="utf-8").strip() for path in installed]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
def test_bash_itself_completes_by_what_is_installed(project, tmp_path, monkeypatch, typed):
    """Bash reads the script, and asks a stand-in for the installed command, which starts this Python."""
    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("bash", "/bin/bash"))
    program = tmp_path / "bin/actrec"
    program.parent.mkdir()
    code = f"import sys; sys.path.insert(0, {str(REPO)!r}); from actrec.cli import main; main()"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
    program.chmod(0o755)
    script = typed("actrec --show-completion")[1]
    asked = 'COMP_WORDS=(actrec recipe ima); COMP_CWORD=2; _actrec_completion actrec; printf "%s\\n" "${COMPREPLY[@]}"'
    env = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], env=env, capture_output=True, text=True, cwd=project)
    assert (done.stdout.split(), done.stderr) == (["images", "images-demo", "images-hog"], "")


def test_completion_loads_next_to_nothing(project):
    program = (
        f"import json, sys; sys.path.insert(0, {str(REPO)!r}); sys.argv = ['actrec']\n"
        "from actrec.cli import main\n"
        "try:\n    main()\nfinally:\n    print(json.dumps(sorted(sys.modules)))"
    )
    env = {**os.environ, "_ACTREC_COMPLETE": "complete_bash", "COMP_WORDS": "actrec recipe ima", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, cwd=project)
    *names, modules = done.stdout.splitlines()
    assert names == ["images", "images-demo", "images-hog"]
    assert {"actrec.cli", "typer"} <= set(json.loads(modules))
    assert not {"torch", "numpy", "ruamel.yaml", "dvc", "actrec.recipes"} & set(json.loads(modules))


def test_the_package_loads_nothing():
    program = "import sys; before = set(sys.modules); import actrec; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout == "['actrec']\n"
