"""The examples of docs/extending.md, done as they stand there: applied, counted, checked and run."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import test_structure
from checkout import Checkout, Done
from ruamel.yaml import YAML

REPO = Path(__file__).resolve().parents[2]
MOST_FILES = 5
_NUMBERS = {"Three": 3, "Four": 4, "Five": 5, "Six": 6}
_FILES = re.compile(r"^\*\*(\w+) files\*\*: (.*?)\.\n\n", re.MULTILINE | re.DOTALL)
_NEW = re.compile(r"^`([^`]+)`, new:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What the pipeline and its user write, in any project.
_NOT_COUNTED = {"params.yaml", "dvc.lock", "results/metrics.json"}


@dataclass(frozen=True)
class Example:
    """One section of the doc: what it says that it touches, what is to be done, and what shows that it works."""

    said: int
    files: frozenset[str]
    new: dict[str, str]
    diffs: tuple[str, ...]
    params: dict[str, Any]
    script: str


def blocks(text: str, kind: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def example_of(section: str) -> Example:
    stated = _FILES.search(section)
    assert stated, "each example says which files it touches"
    (script,) = blocks(section, "bash")
    yaml = YAML(typ="safe", pure=True)
    return Example(
        said=_NUMBERS[stated[1]],
        files=frozenset(re.findall(r"`([^`]+)`", stated[2])),
        new=dict(_NEW.findall(section)),
        diffs=blocks(section, "diff"),
        params={key: value for text in blocks(section, "yaml") for key, value in yaml.load(text).items()},
        script=script,
    )


_, *_SECTIONS = re.split(r"^## ", (REPO / "docs/extending.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
EXAMPLES = {section.partition("\n")[0]: example_of(section) for section in _SECTIONS}


@pytest.fixture(scope="module")
def checkout(first_repro: tuple[Checkout, Done], tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return first_repro[0].copy(tmp_path_factory.mktemp("extending") / "project")


@pytest.fixture
def project(checkout: Checkout) -> Checkout:
    """Return the project as it is, with what earlier examples have computed: they do not build on each other."""
    checkout("git", "reset", "--quiet", "--hard")
    checkout("git", "clean", "--quiet", "--force", "-d")
    return checkout


def apply(example: Example, project: Checkout, patch: Path) -> None:
    for name, text in example.new.items():
        assert not (project.folder / name).exists()
        (project.folder / name).write_text(text, encoding="utf-8")
    patch.write_text("".join(example.diffs), encoding="utf-8")
    project("git", "apply", "--whitespace=error", str(patch))


def touched(project: Checkout) -> set[str]:
    listed = project("git", "status", "--porcelain", "--untracked-files=all").text.splitlines()
    return {line[3:] for line in listed} - _NOT_COUNTED


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_does_what_it_says(title: str, project: Checkout, tmp_path: Path) -> None:
    example = EXAMPLES[title]
    apply(example, project, tmp_path / "example.patch")
    code = sorted(name for name in touched(project) if name.endswith(".py"))
    project("ruff", "check", *code)
    project("ruff", "format", "--check", *code)
    for name in code:
        test_structure.test_files_and_functions_are_short(project.folder / name)
    project.set_params(**example.params)
    done = project("sh", "-e", "-c", example.script)
    assert touched(project) == example.files
    assert len(example.files) == example.said <= MOST_FILES
    SHOWN[title](project, done.text)


# --- what shows that it works -------------------------------------------------------------------------------------


def the_run_is_of_the_new_network(project: Checkout, said: str) -> None:
    run = json.loads((project.folder / "results/run.json").read_text(encoding="utf-8"))
    assert run["params"]["model"]["backbones"]["rgb"]["kind"] == "frame_mlp"
    metrics = json.loads((project.folder / "results/metrics.json").read_text(encoding="utf-8"))
    assert metrics["clips"]["used"] == 16 and 0 <= metrics["test"]["action"]["top1"] <= 1


def the_manifest_holds_the_listed_clips(project: Checkout, said: str) -> None:
    assert "ingest: 16 clips" in said
    rows, drawn = (table(project, name) for name in ("interim/listed/manifest.csv", "raw/demo/clips.csv"))
    assert {(row["path"], row["label:action"], row["group"]) for row in rows} == {
        (row["path"], row["action"], row["subject"]) for row in drawn
    }


def the_counts_are_of_all_clips(project: Checkout, said: str) -> None:
    rows, clips = table(project, "interim/demo/counts.csv"), table(project, "interim/demo/manifest.csv")
    assert sum(int(row["clips"]) for row in rows) == len(clips) == 16
    seconds = sum(float(clip["duration_s"]) for clip in clips)
    assert sum(float(row["seconds"]) for row in rows) == pytest.approx(seconds, abs=0.01)
    assert "split,head,class,clips,seconds\n" in said


def the_metric_is_reported(project: Checkout, said: str) -> None:
    metrics = json.loads((project.folder / "results/metrics.json").read_text(encoding="utf-8"))
    assert all(-1 <= metrics[split]["action"]["mcc"] <= 1 for split in ("val", "test"))
    assert "val_action_mcc" in (project.folder / "results/history.csv").read_text(encoding="utf-8")


def table(project: Checkout, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((project.folder / "data" / name).read_text(encoding="utf-8").splitlines()))


SHOWN: dict[str, Callable[[Checkout, str], None]] = {
    "A backbone": the_run_is_of_the_new_network,
    "A reader of another data set": the_manifest_holds_the_listed_clips,
    "A stage": the_counts_are_of_all_clips,
    "A metric": the_metric_is_reported,
}


def test_every_example_has_something_to_show() -> None:
    assert EXAMPLES.keys() == SHOWN.keys()
