"""What the commands say and do; `test_help` and `test_exit_codes` are about how they are asked, and how they end."""

import json
import os
import re
import shutil
import sys
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from actrec import cli, console
from actrec.cli import app
from actrec.console import progress
from actrec.errors import UserError
from actrec.params.load import load
from actrec.recipes import activate, describe_all
from actrec.store.cas import Store

REPO = Path(__file__).resolve().parents[1]
RECIPES = sorted(path.stem for path in (REPO / "recipes").glob("*.yaml"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Be in a folder that has the recipes, and a store of its own."""
    shutil.copytree(REPO / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))
    return tmp_path


def call(*args):
    """Return what a command printed to standard output and to standard error."""
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout, result.stderr


# --- progress -----------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes by `step_s` at each look."""

    def __init__(self, step_s):
        self.now_s, self.step_s = 0.0, step_s

    def monotonic(self):
        self.now_s += self.step_s
        return self.now_s


def test_without_a_terminal_a_short_run_is_quiet(capsys):
    assert list(progress(iter("abc"), 3, "frames")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_long_run_says_a_line_a_minute(capsys, monkeypatch):
    monkeypatch.setattr(console, "time", Clock(25.0))
    assert list(progress(range(6), 6, "frames")) == list(range(6))
    # 25 s an item: the third minute's line after 75 s, the next after 150 s.
    assert capsys.readouterr().err.splitlines() == [
        "frames: 3 of 6 clips, 0.0/s, 75 s left",
        "frames: 6 of 6 clips, 0.0/s, 0 s left",
    ]


def test_on_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(progress(iter("ab"), 2, "frames", "files")) == ["a", "b"]
    out, said = capsys.readouterr()
    assert out == "" and "frames" in said


def test_the_version():
    assert call("--version")[0] == f"actrec {version('actrec')}\n"


# --- recipes ------------------------------------------------------------------------------------------------------


def test_the_recipes_are_listed_with_what_they_are_for_and_need(project):
    text = "\n".join(describe_all(Path("recipes"), Path("params.yaml")))
    assert re.findall(r"^[* ] (\S+)", text, flags=re.MULTILINE) == RECIPES
    assert {"demo", "folder", "linear-probe"} <= set(RECIPES)
    about = dict(zip(RECIPES, re.split(r"^[* ] \S+", text, flags=re.MULTILINE)[1:], strict=True))
    for name, said in about.items():
        comment = (project / f"recipes/{name}.yaml").read_text(encoding="utf-8").partition("\nrecipe:")[0]
        assert " ".join(said.split()).startswith(" ".join(comment.replace("# ", " ").split()))
    assert "Data: data/raw/demo, which its stage demo draws." in about["demo"]
    assert "Data: data/raw/clips (data.root), a folder a class." in about["folder"]
    assert "nturgb+d_rgb, ntu60_2d.pkl." in about["ntu60-rgbpose"]


def test_the_active_recipe_is_marked(project):
    call("recipe", "linear-probe")
    stdout, _ = call("recipe", "--list")
    assert [line.split()[1] for line in stdout.splitlines() if line.startswith("*")] == ["linear-probe"]
    assert call("recipe")[0] == stdout


@pytest.mark.parametrize("content", [b"train: {lr: abc}\n", b"a: [\n", "é".encode("utf-16"), b"", b"- 1\n"])
def test_a_broken_params_file_is_no_obstacle(project, content):
    Path("params.yaml").write_bytes(content)
    listed = call("recipe", "--list")[0]
    assert all(f" {name} " in listed for name in RECIPES)
    call("recipe", "demo")
    assert load("params.yaml").recipe == "demo"


def test_a_recipe_becomes_the_active_experiment(project):
    stdout, stderr = call("recipe", "demo")
    assert Path("params.yaml").read_bytes() == Path("recipes/demo.yaml").read_bytes()
    assert "+ recipe: demo" in stdout.splitlines() and "+ model.heads.action.kind: linear" in stdout.splitlines()
    assert stderr == "params.yaml is now the recipe demo. Run it: dvc repro\n"
    assert call("recipe", "demo")[0] == ""


def test_what_changed_is_told_setting_by_setting(project):
    text = Path("recipes/demo.yaml").read_text(encoding="utf-8")
    optimizer = "optimizer: {kind: adamw, weight_decay: 0.01}"
    assert text.count(optimizer) == 1
    changed = text.replace(optimizer, "optimizer: {kind: sgd, momentum: 0.5, nesterov: true, weight_decay: 0.01}")
    Path("params.yaml").write_text(changed.replace("seed: 0\n", "seed: 7\n", 1), encoding="utf-8")
    assert activate("demo", Path("recipes"), Path("params.yaml")) == [
        "~ seed: 7 -> 0",
        "~ train.optimizer.kind: sgd -> adamw",
        "- train.optimizer.momentum: 0.5",
        "- train.optimizer.nesterov: true",
    ]


def test_what_is_gone_stands_by_what_came_for_it(project):
    text = Path("recipes/demo.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(
        text.replace("{kind: adamw, weight", "{kind: adamw, drop: 1, weight"), encoding="utf-8"
    )
    changes = activate("images", Path("recipes"), Path("params.yaml"))
    sections = [line.split()[1].partition(".")[0].rstrip(":") for line in changes]
    assert "- train.optimizer.drop: 1" in changes and sections[-1] == "evaluate"
    assert len(list(groupby(sections))) == len(set(sections)), "each section stands together"


def test_a_recipe_says_which_weights_are_not_here(project, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(project / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(project / "hub"))
    assert "weights" not in call("recipe", "demo")[1]
    rgb, audio, last = call("recipe", "wildlife")[1].splitlines()
    assert rgb.startswith(
        "model.backbones.rgb.weights: MCG-NJU/videomae-base-finetuned-kinetics is not on this machine"
    )
    assert audio.startswith("model.backbones.audio.weights: resnet18-f37072fd.pth is not on this machine, and will be")
    assert last.endswith("Run it: dvc repro")


def test_an_edited_params_file_is_kept_before_a_recipe_replaces_it(project):
    call("recipe", "demo")
    assert not Path("params.yaml.bak").exists()
    edited = Path("params.yaml").read_bytes().replace(b"seed: 0", b"seed: 7", 1)
    Path("params.yaml").write_bytes(edited)
    assert "it is kept as params.yaml.bak" in call("recipe", "linear-probe")[1]
    assert Path("params.yaml.bak").read_bytes() == edited


def test_an_unknown_recipe_names_the_nearest(project):
    with pytest.raises(UserError, match=r"no recipe 'linear_prob' in recipes/\. Did you mean linear-probe\?"):
        call("recipe", "linear_prob")
    with pytest.raises(UserError, match=r"Known: .*demo, "):
        call("recipe", "xyz")
    assert not Path("params.yaml").exists()


def test_a_recipe_that_is_not_valid_changes_nothing(project):
    call("recipe", "demo")
    before = Path("params.yaml").read_bytes()
    broken = Path("recipes/demo.yaml").read_text(encoding="utf-8").replace("\nseed: 0\n", "\nsede: 0\n")
    Path("recipes/broken.yaml").write_text(broken, encoding="utf-8")
    with pytest.raises(UserError, match=r"sede is not a setting\. Did you mean seed\?"):
        call("recipe", "broken")
    assert Path("params.yaml").read_bytes() == before


def test_elsewhere_there_are_no_recipes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"Run this in the folder that holds dvc\.yaml"):
        call("recipe", "--list")


# --- the store, and the rest --------------------------------------------------------------------------------------


def fill_store(folder):
    store = Store(folder)
    for i, (stage, size) in enumerate([("frames", 1500), ("frames", 500), ("features", 4000)]):
        path = store.put(stage, f"{i:064x}", bytes(size)).path
        os.utime(path.with_name(path.name + ".json"), (100 + i, 100 + i))


def test_the_store_is_shown_by_stage(project):
    fill_store(project / "cache")
    lines = call("cache")[0].splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["features", "1", "items", "4", "KB"],
        ["frames", "2", "items", "2", "KB"],
    ]
    assert lines[2].startswith(f"{project / 'cache'}: 6 KB;")


def test_the_store_is_pruned(project):
    fill_store(project / "cache")
    stdout, stderr = call("cache", "--prune", "4.5KB")
    assert stderr == "removed 1.5 KB\n"
    assert [line.split()[1] for line in stdout.splitlines()[:2]] == ["1", "1"]
    assert call("cache", "--prune", "0B")[0].splitlines() == [
        f"{project / 'cache'}: 0 B; prune it by: actrec cache --prune 20GB"
    ]


def test_an_empty_store_is_none(project):
    assert call("cache")[0].startswith(f"{project / 'cache'}: 0 B")


def test_a_store_that_is_switched_off(project, monkeypatch):
    monkeypatch.setenv("ACTREC_CACHE", "off")
    with pytest.raises(UserError, match="ACTREC_CACHE=off"):
        call("cache")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20GB", 20 * 10**9), ("500 mb", 500 * 10**6), ("1.5KB", 1500), ("2TB", 2 * 10**12), ("7B", 7), ("0B", 0)],
)
def test_sizes(text, expected):
    assert cli._bytes(text) == expected


@pytest.mark.parametrize("text", ["20", "GB", "-1GB", "1.2.3GB", "many", "", "20GiB", "²GB", "1e3GB"])
def test_what_is_no_size(text):
    with pytest.raises(UserError, match="expected a size such as 500MB or 20GB"):
        cli._bytes(text)


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (1_234_567, "1.23 MB"), (5 * 10**13, "50 TB")]
)
def test_sizes_are_shown_for_people(count, expected):
    assert cli._size(count) == expected


def test_the_schema_is_that_of_the_editors(project):
    assert call("schema")[0] == (REPO / "recipes/schema.json").read_text(encoding="utf-8")
    assert json.loads(call("schema")[0])["additionalProperties"] is False


def test_pictures_are_imported(project, monkeypatch):
    asked = []
    counts = {"train": 1200, "test": 8}
    monkeypatch.setattr("actrec.hub_images.import_images", lambda *own, **named: asked.append((own, named)) or counts)
    stdout, stderr = call("images", "a/b", "--to", "new", "--revision", "0" * 40, "--split", "train", "--split", "test")
    columns = {"image_column": "image", "label_column": "label"}
    named = {"revision": "0" * 40, "splits": ["train", "test"], **columns}
    assert asked == [(("a/b", Path("new")), named)]
    assert [line.split() for line in stdout.splitlines()] == [["train", "1,200", "pictures"], ["test", "8", "pictures"]]
    assert "data.root: new" in stderr


def test_a_support_vector_machine_is_exported(project, monkeypatch):
    asked = []
    monkeypatch.setattr("actrec.export.export_svm", lambda *own: asked.append(own) or ("class",))
    assert call("export", "--to", "svm.skops") == ("", "svm.skops: class. Read it by: skops.io.load('svm.skops')\n")
    call("export", "--to", "b.skops", "--checkpoint", "old/best.pt")
    assert asked == [(Path("models/best.pt"), Path("svm.skops")), (Path("old/best.pt"), Path("b.skops"))]


@pytest.mark.parametrize(
    ("name", "expected"), [("nowhere.mp4", "no such file or folder"), ("", "no video, sound or image in it")]
)
def test_predict_needs_something_to_look_at(project, name, expected):
    with pytest.raises(UserError, match=expected):
        call("predict", str(project / name))


def test_predict_writes_what_it_found(project, monkeypatch):
    rows = "path,status\na.mp4,ok\nb.mp4,truncated\n"
    monkeypatch.setattr("actrec.predict.predict_to_csv", lambda *_, **__: (rows, 1))
    assert call("predict", "x") == (rows, "")
    told = "new/out.csv: 2 rows, 1 of them of files that cannot be used: see the column status\n"
    assert call("predict", "x", "--out", "new/out.csv") == ("", told)
    assert Path("new/out.csv").read_text(encoding="utf-8") == rows


def test_predict_fails_if_every_file_is_bad(project, monkeypatch):
    monkeypatch.setattr("actrec.predict.predict_to_csv", lambda *_, **__: ("path,status\nb.mp4,truncated\n", 1))
    assert CliRunner().invoke(app, ["predict", "b.mp4"]).exit_code == 1


def test_the_command_has_an_entry_point(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["actrec", "recipe", "xyz"])
    monkeypatch.chdir(REPO)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1 and capsys.readouterr().err.startswith("error: no recipe 'xyz' in recipes/.")
    assert isinstance(app, typer.Typer)
