"""What the section `data` may say of skeletons and coarse classes."""

from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from actrec.params.data import Data, SkeletonFiles
from actrec.pose.layouts import LAYOUTS
from actrec.pose.read import KINDS

REPO = Path(__file__).resolve().parents[2]
DEMO = YAML(typ="safe", pure=True).load((REPO / "recipes/demo.yaml").read_text(encoding="utf-8"))["data"]
PICKLE = {"kind": "pyskl", "path": "a.pkl", "layout": "coco17"}
NTU = {"kind": "ntu", "head": "action", "dataset": "ntu60", "protocol": "xsub", "held_out": "val", "media": "."}
READERS: dict[str, dict[str, Any]] = {
    "ntu": {**NTU, "missing": {"kind": "published"}},
    "skeletons": {"kind": "skeletons", "head": "action", "splits": None, "class_names": None, "group_regex": None},
    "folder": {"kind": "folder", "head": "action", "splits": None, "group_regex": None},
}
COARSE = {"of": "action", "head": "body", "map": "ma52"}


def data(*, reader="", **changes):
    """Return the demo's section with these settings."""
    params = {**deepcopy(DEMO), **changes}
    if reader:
        params["reader"] = {**READERS[reader]}
    return params


def fault(params):
    with pytest.raises(ValidationError) as caught:
        Data.model_validate(params)
    (error,) = caught.value.errors()
    return error["msg"]


def test_heads_are_the_readers_and_the_coarse_one():
    assert Data.model_validate(data()).heads == ("action",)
    assert Data.model_validate(data(coarse=COARSE)).heads == ("action", "body")
    assert Data.model_validate(data(reader="ntu", coarse=COARSE)).heads == ("action", "body")


def test_kinds_and_layouts_are_those_that_can_be_read():
    fields = SkeletonFiles.model_fields
    assert get_args(fields["kind"].annotation) == KINDS
    assert set(get_args(fields["layout"].annotation)) == set(LAYOUTS)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (data(media="skeleton"), "media is skeleton, but skeletons is null"),
        (data(media="skeleton", skeletons=PICKLE, reader="folder"), "reader.kind is folder"),
        (data(media="video", skeletons=PICKLE, reader="skeletons"), "needs media: skeleton, and skeletons.kind: pyskl"),
        (
            data(media="skeleton", skeletons={**PICKLE, "kind": "npz"}, reader="skeletons"),
            "needs media: skeleton, and skeletons.kind: pyskl",
        ),
        (data(coarse={**COARSE, "of": "species"}), r"coarse.of is 'species'; reader labels ['action']"),
        (data(coarse={**COARSE, "head": "action"}), "coarse.head is 'action', which reader labels already"),
        (data(skeletons={**PICKLE, "kind": "ntu_text"}), "kind ntu_text has the joints of ntu25"),
        (data(skeletons={**PICKLE, "layout": "coco18"}), "Input should be 'coco17'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(params, expected):
    assert expected in fault(params)


def test_classes_of_several_a_clip_have_no_coarse_class():
    params = data(coarse=COARSE)
    params["reader"]["multi_label"] = {"action": ","}
    assert "of which clips may have several classes" in fault(params)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"protocol": "xset"}, "ntu60 has xsub and xview"),
        ({"dataset": "ntu120", "protocol": "xview"}, "ntu120 has xsub and xset"),
        ({"held_out": "train"}, "Input should be 'val' or 'test'"),
        ({"missing": {"kind": "skeletons"}}, "reader.missing.kind is skeletons, but skeletons is null"),
    ],
)
def test_protocols_are_the_published_ones(change, expected):
    params = data(reader="ntu")
    params["reader"].update(change)
    assert expected in fault(params)


def test_what_is_right_is_taken():
    for params in (
        data(media="skeleton", skeletons=PICKLE, reader="skeletons"),
        data(media="skeleton", skeletons={**PICKLE, "kind": "ntu_text_2d", "layout": "ntu25"}, reader="ntu"),
        data(media="video", skeletons=PICKLE),
    ):
        assert Data.model_validate(params).model_dump(mode="json") == params
