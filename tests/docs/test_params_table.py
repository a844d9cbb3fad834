"""docs/params.md is what the models and dvc.yaml say now, and no setting is without words or without a stage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actrec.params.schema import Params
from tools.params_table import render, settings, stages_of

REPO = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPO / "recipes").glob("*.yaml"))
SETTINGS = settings()
KEYS = list(dict.fromkeys(setting.key for setting in SETTINGS))
# No stage has it among its params.
UNDECLARED = {"recipe": "a name for people: it changes no result, and only results/run.json repeats it"}


def leaves(value: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from leaves(part, (*above, name))
    else:
        yield above


def row_of(place: tuple[str, ...]) -> str | None:
    """Return the key in the table that a place in a params file is told by; a dict of plain values has one row."""
    for end in range(len(place), 0, -1):
        for key in (".".join(place[:end]), ".".join(["model", "heads", "<name>", *place[3:end]])):
            if key in KEYS and (not key.startswith("model.heads.<") or place[:2] == ("model", "heads")):
                return key
    return None


def words(key: str) -> list[str]:
    return [setting.words for setting in SETTINGS if setting.key == key]


def test_the_table_is_up_to_date() -> None:
    written = (REPO / "docs/params.md").read_text(encoding="utf-8")
    assert written == render(), "run: python -m tools.params_table > docs/params.md"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_everything_that_a_recipe_sets_is_in_the_table(recipe: Path) -> None:
    params = YAML(typ="safe", pure=True).load(recipe.read_text(encoding="utf-8"))
    places = list(leaves(params))
    assert len(places) > 90
    assert [".".join(place) for place in places if row_of(place) is None] == []
    # And none is told only by the section that it stands in.
    sections = {key for key in KEYS if any(other.startswith(f"{key}.") for other in KEYS)}
    assert [".".join(p) for p in places if row_of(p) in sections and row_of(p) != ".".join(p)] == []


def test_every_setting_is_of_some_stage_or_excused() -> None:
    assert {key for key in KEYS if not stages_of(key)[0]} == UNDECLARED.keys()


@pytest.mark.parametrize(
    ("key", "declared", "then"),
    [
        ("train.lr", ["train"], ["evaluate"]),
        ("train.select_on", ["train", "evaluate"], []),
        ("model.heads.<name>.dropout", ["train"], ["evaluate"]),
        ("model.backbones.rgb.kind", ["features", "train"], ["evaluate"]),
        ("features.views", ["features"], ["train", "evaluate"]),
        ("mels.n_mels", ["mels"], ["features", "train", "evaluate"]),
        ("frames.size_px", ["frames"], ["features", "train", "evaluate"]),
        # Pictures are cut out around whom the skeletons show.
        ("skeletons.max_persons", ["skeletons"], ["frames", "features", "train", "evaluate"]),
        ("data.split.seed", ["ingest"], ["skeletons", "frames", "mels", "features", "train", "evaluate"]),
        ("demo.seed", ["demo"], ["ingest", "skeletons", "frames", "mels", "features", "train", "evaluate"]),
        ("evaluate.batch_size", ["evaluate"], []),
    ],
)
def test_stages_by_hand(key: str, declared: list[str], then: list[str]) -> None:
    assert key in KEYS
    assert stages_of(key) == (declared, then)


def test_no_setting_is_without_words() -> None:
    assert [(setting.key, setting.kinds) for setting in SETTINGS if not setting.words] == []


def test_every_field_is_described_or_is_a_section_that_is() -> None:
    """In the schema that editors read. What a kind stands for is said by the docstring of its section."""
    schema = Params.model_json_schema()
    models = {"Params": schema, **schema["$defs"]}
    assert [name for name, model in models.items() if not model.get("description")] == []
    assert [
        f"{name}.{field}"
        for name, model in models.items()
        for field, node in model["properties"].items()
        if not node.get("description") and node.keys() != {"$ref"} and field != "kind"
    ] == []


def test_what_is_said_of_a_setting_by_hand() -> None:
    """By the field, by a type that several fields share, and by a base class."""
    assert words("train.batch_size") == ["Clips of a step, of all devices together."]
    assert words("train.optimizer.weight_decay") == ["How strongly weights are drawn to 0; 0: not at all."]
    assert words("model.backbones.pose.token_grid") == [
        "Rows and columns that the places of the last map, each a mean over time, are averaged to: [1, 1] is one token "
        "a clip. null: a token for each place."
    ]


def test_what_is_said_of_sections_by_hand() -> None:
    """By the field; else by the section's docstring, in one line; and of a choice by kind by those of its sections."""
    assert words("features.augment") == ["How the random views that are kept are made, for each modality."]
    assert words("train.validation") == [
        "After which epochs the val clips are judged. The others are not chosen, and count neither for early stopping "
        "nor for the plateau schedule."
    ]
    assert words("frames.sampling.kind") == [
        "Which frames of a video are stored. `stride`: Windows of `clip_frames` frames, `frame_stride` apart, spread "
        "evenly over the clip. `uniform`: `clip_frames` frames spread evenly over the whole clip."
    ]
    # A choice that may be left out has a row of its own.
    assert words("model.backbones.pose") == ["The network for skeletons, which the stage skeletons stores."]
    assert words("model.backbones.pose.kind") == [
        "`pose_conv3d`: PoseC3D's SlowOnly network over heat-maps, three stages. `x_shift`: The pose stream of "
        "X-ShiftNet, over heat-maps."
    ]
    # Sections of one kind: what the field says is truer there than what the section is elsewhere.
    assert words("model.backbones.geometry.weights.kind") == ["Always none, for nothing is learned."]
    # One section of several kinds tells them apart itself.
    assert words("data.skeletons.kind")[0].startswith("What the files are. pyskl: a pickle of pyskl or mmaction2. ")


def test_what_a_setting_may_be_by_hand() -> None:
    values = {(setting.key, setting.kinds): setting.values for setting in SETTINGS}
    assert values["frames.enabled", ()] == "`true` · `false`"
    assert values["train.label_smoothing", ()] == "number, ≥ 0, < 1"
    assert values["frames.resize", ()] == "`crop` · `pad` · `stretch` · `keep`"
    assert values["evaluate.grad_cam", ()] == "`null`, or the settings below"
    assert values["model.backbones.pose", ()] == "left out, or the settings below"
    assert values["train.schedule.kind", ()] == "`cosine` · `none` · `plateau` · `step`"
    assert values["train.schedule.factor", ("plateau", "step")] == "number, ≥ 0, ≤ 1"
    assert values["train.schedule.warmup_epochs", ()] == "number, ≥ 0"  # all kinds have it
    assert values["data.reader.people.boxes", ("csv",)] == "list of 2: list of 4: text"
    assert values["train.freeze", ()] == "the settings below"
    assert values["model.heads", ()] == "{name: the settings below}"
