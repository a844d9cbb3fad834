"""A mistake anywhere in params.yaml is told before any other stage starts, and costs nothing that was made."""

from pathlib import Path

import pytest
from checkout import CHECKED, Checkout, Done, new_checkout

MADE = ("data", "models", "results", "dvc.lock")
# Edits of params.yaml as a user types them, and what is answered.
MISTAKES = {
    "a value": ("lr: 0.003", "lr: abc", "params.yaml: train.lr is 'abc': input should be a valid number."),
    "a key": (
        "label_smoothing:",
        "label_smooth:",
        "train.label_smooth is not a setting. Did you mean train.label_smoothing?",
    ),
    "a key of the last stage": ("bootstrap_samples:", "boot_samples:", "Did you mean evaluate.bootstrap_samples?"),
    "a section": ("\ntrain:", "\ntrian:", "params.yaml: trian is not a setting. Did you mean train?"),
    "a folder": ("root: data/raw/demo", "root: data/raw/clips", "data.root is 'data/raw/clips': no such folder"),
}


def test_a_mistake_is_told_before_anything_is_made_or_loaded(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "new")
    done = checkout("dvc", "exp", "run", "-S", "train.lr=abc", status=None, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.status != 0 and done.started == ["check"]
    lines = done.text.splitlines()
    assert "error: params.yaml: train.lr is 'abc': input should be a valid number." in lines
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert {"actrec.paths", "pydantic"} <= imported
    assert not {"torch", "sklearn", "av"} & imported
    assert checkout.bytes_of("data").keys() == {"data/README.md"}


@pytest.fixture(scope="module")
def made(first_repro: tuple[Checkout, Done], tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return first_repro[0].copy(tmp_path_factory.mktemp("made") / "copy")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_costs_nothing_that_was_made(made: Checkout, name: str) -> None:
    """DVC removes what a stage has written before it starts it: the typo must be found by then."""
    right, wrong, answer = MISTAKES[name]
    params, before = made.folder / "params.yaml", made.bytes_of(*MADE)
    text = params.read_text(encoding="utf-8")
    assert right in text
    params.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    done = made("dvc", "repro", status=None)
    assert done.status != 0 and done.started == ["check"] and answer in done.text
    left = made.bytes_of(*MADE)
    assert left == {name: content for name, content in before.items() if name != CHECKED}

    params.write_text(text, encoding="utf-8")
    back = made.repro()
    assert (back.ran, back.restored, made.bytes_of(*MADE)) == ([], [], before)


def test_a_stage_that_has_nothing_to_do_loads_nothing_slow(reproduced: Checkout) -> None:
    done = reproduced("python", "-X", "importtime", "-m", "pipeline.features")
    imported = {line.rpartition("|")[2].strip() for line in done.text.splitlines()}
    assert "actrec.paths" in imported
    assert not {"torch", "sklearn", "av", "h5py", "matplotlib"} & imported
