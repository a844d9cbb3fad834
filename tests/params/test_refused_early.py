"""Settings that fit no network or do nothing are refused when params.yaml is read, not later or never."""

from pathlib import Path

import pytest
from changed_recipes import with_changes

from actrec.errors import UserError
from actrec.models.at_hand import PUBLISHER
from actrec.params.load import checked
from actrec.params.weights import PUBLISHED, TorchvisionWeights

VIDEO_NETS = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t")
TERMS = {"form": "variance", "weight": 0.1, "accuracy_weight": 0.05}
RGB, AUDIO, OPTIMIZER = "model.backbones.rgb", "model.backbones.audio", "train.optimizer"


def taken(recipe, changes):
    """Return whether a recipe with these changes may be."""
    return checked(with_changes(recipe, changes), "p") is not None


def refused(recipe, changes):
    """Return what is said of a recipe with these changes."""
    with pytest.raises(UserError) as caught:
        checked(with_changes(recipe, changes), "p")
    return str(caught.value)


# --- optimizer --------------------------------------------------------------------------------------------------------


def sgd(momentum, *, nesterov):
    return {OPTIMIZER: {"kind": "sgd", "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.0}}


def test_nesterov_needs_momentum():
    assert refused("images", sgd(0.0, nesterov=True)) == (
        "p: train.optimizer: nesterov is true, which looks at where momentum leads, but momentum is 0, expected above "
        "0: set momentum to 0.9, or nesterov to false"
    )
    assert all(taken("images", sgd(m, nesterov=n)) for m, n in ((0.0, False), (0.9, True), (0.9, False)))


# --- weights of torchvision -------------------------------------------------------------------------------------------


def named(modality, name, **network):
    """Return changes of a modality's network: its settings, and the name of its weights."""
    weights = {"kind": "torchvision", "name": name}
    return {f"{modality}.weights": weights, **{f"{modality}.{key}": value for key, value in network.items()}}


@pytest.mark.parametrize("depth", [18, 34])
@pytest.mark.parametrize(("recipe", "modality"), [("images", RGB), ("sound", AUDIO)])
def test_small_resnets_have_no_second_weights(recipe, modality, depth):
    assert refused(recipe, named(modality, "IMAGENET1K_V2", depth=depth)) == (
        f"p: {modality}: weights.name is IMAGENET1K_V2, but torchvision publishes IMAGENET1K_V1 for resnet{depth}: set "
        "it to IMAGENET1K_V1, or take weights: {kind: none}"
    )
    assert all(taken(recipe, named(modality, name, depth=depth)) for name in ("IMAGENET1K_V1", "DEFAULT"))
    assert taken(recipe, named(modality, "IMAGENET1K_V2", depth=50))


@pytest.mark.parametrize("kind", VIDEO_NETS)
def test_video_networks_have_weights_of_kinetics_alone(kind):
    said = refused("folder", named(RGB, "IMAGENET1K_V1", kind=kind))
    assert said.startswith(f"p: {RGB}: weights.name is IMAGENET1K_V1, but torchvision publishes KINETICS400_V1 for ")
    assert taken("folder", named(RGB, "KINETICS400_V1", kind=kind))


def test_what_large_resnets_have_is_named():
    said = refused("images", named(RGB, "IMAGENET1K_V3", depth=101))
    assert "publishes IMAGENET1K_V1 and IMAGENET1K_V2 for resnet101: set it to IMAGENET1K_V2" in said


def test_the_table_is_that_of_torchvision():
    from torchvision.models import get_model_weights

    published = {
        network: {each.name: each.url.removeprefix(PUBLISHER) for each in get_model_weights(network)}
        for network in PUBLISHED
    }
    assert published == PUBLISHED
    best = {network: Path(get_model_weights(network).DEFAULT.url).name for network in PUBLISHED}
    assert {
        network: TorchvisionWeights(kind="torchvision", name="DEFAULT").file_of(network) for network in best
    } == best
    assert set(PUBLISHED) == {*VIDEO_NETS, *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152))}


# --- svm --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "got", "off"),
    [
        ("train.sampler", "balanced", "balanced", "shuffled"),
        ("train.label_smoothing", 0.1, "0.1", "0"),
        ("train.soft_recall", TERMS, "{form: variance, weight: 0.1, accuracy_weight: 0.05}", "null"),
        ("train.mixup_alpha", 0.2, "0.2", "0"),
        ("train.devices", 2, "2", "1"),
        ("train.precision", "bf16", "bf16", "fp32"),
        ("compute.compile", True, "true", "false"),
    ],
)
def test_an_svm_refuses_what_it_has_no_use_for(name, value, got, off):
    said = refused("images-hog", {name: value})
    rest = f"p: model.heads: svm takes no steps and has no use for {name}: {got}: set {name}: {off}"
    assert said.partition(", and train.class_weights: balanced")[0] == rest
    assert ("class_weights" in said) == (name in ("train.sampler", "train.soft_recall"))


def test_all_that_an_svm_has_no_use_for_is_named_at_once():
    changes = {"train.sampler": "balanced", "train.label_smoothing": 0.1, "train.class_weights": "balanced"}
    assert refused("images-hog", changes) == (
        "p: model.heads: svm takes no steps and has no use for train.label_smoothing: 0.1, train.sampler: balanced: "
        "set train.label_smoothing: 0, train.sampler: shuffled"
    )


def test_how_steps_are_taken_may_be_anything_of_an_svm():
    """Every recipe has to say something there."""
    changes = {"train.lr": 0.5, "train.epochs": 7, "train.batch_size": 3, "train.clip_norm": 1.0, "train.accumulate": 2}
    changes |= {"train.class_weights": "balanced", "train.early_stopping.patience_epochs": 3}
    assert taken("images-hog", changes)
    # Of the same settings a network has use for all.
    steps = {"train.sampler": "balanced", "train.label_smoothing": 0.1, "train.soft_recall": TERMS}
    assert taken("images", {**steps, "compute.compile": True, "train.precision": "bf16"})


# --- where it stands --------------------------------------------------------------------------------------------------


def test_the_place_is_named_as_the_file_has_it():
    """Pydantic adds the kind of a section to its own path."""
    assert refused("images-hog", {f"{RGB}.input_px": 16, f"{RGB}.cell_px": 16}).startswith(f"p: {RGB}: input_px is 16:")
