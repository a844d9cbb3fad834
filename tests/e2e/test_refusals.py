"""A mistake anywhere in params.yaml stops the first stage that starts, before anything slow is loaded."""

from pathlib import Path

from checkout import Checkout, new_checkout


def refuse(checkout: Checkout) -> tuple[list[str], set[str]]:
    """Return the stages that started with a wrong learning rate, and the modules that they and dvc imported."""
    done = checkout("dvc", "exp", "run", "-S", "train.lr=abc", status=None, env={"PYTHONPROFILEIMPORTTIME": "1"})
    lines = done.text.splitlines()
    assert done.status != 0
    assert "error: params.yaml: train.lr is 'abc': input should be a valid number." in lines
    return done.ran, {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_a_wrong_learning_rate_stops_the_very_first_stage(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "new")
    started, imported = refuse(checkout)
    assert started == ["demo"]
    assert {"pipeline.paths", "pydantic"} <= imported
    assert not {"torch", "sklearn", "av"} & imported
    assert checkout.bytes_of("data").keys() == {"data/README.md"}


def test_a_wrong_learning_rate_stops_training_before_torch_is_loaded(reproduced: Checkout) -> None:
    before = reproduced.bytes_of("results/metrics.json")
    started, imported = refuse(reproduced)
    assert started == ["train"]
    assert {"pipeline.paths", "pydantic"} <= imported
    assert not {"torch", "sklearn", "av"} & imported

    reproduced("git", "checkout", "--quiet", "params.yaml")
    back = reproduced.repro()
    assert (back.ran, reproduced.bytes_of("results/metrics.json")) == ([], before)


def test_a_stage_that_has_nothing_to_do_loads_nothing_slow(reproduced: Checkout) -> None:
    done = reproduced("python", "-X", "importtime", "-m", "pipeline.features")
    imported = {line.rpartition("|")[2].strip() for line in done.text.splitlines()}
    assert "pipeline.paths" in imported
    assert not {"torch", "sklearn", "av", "h5py", "matplotlib"} & imported
