from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import (
    ABOUT,
    BACKBONE,
    IDENTITY,
    PLAIN,
    SILENT,
    SOUND_SPEC,
    SPEC,
    make_features,
    make_folder,
    make_inputs,
    make_manifest,
    make_mels,
    make_model,
)

from actrec.data.manifest import Manifest, dump
from actrec.errors import UserError
from actrec.params import load
from actrec.store.tree import write_index
from actrec.training.data import Inputs, open_inputs
from actrec.training.device import launch
from actrec.training.evaluate import score_splits
from actrec.training.sources import CachedTokens, LiveClips
from actrec.training.views import views_of
from pipeline.model import run_key, sources_of

VIEW = {"backbones": {"rgb": {"input_px": 16, "crop_frac": 1.0}}, "augment": PLAIN, "seed": 0}


@pytest.fixture
def inputs(tmp_path) -> Inputs:
    return make_inputs(tmp_path, make_manifest())


@pytest.fixture
def both(tmp_path) -> Inputs:
    return make_inputs(tmp_path, make_manifest(), sound=True)


def open_from(folder: Path, *modalities: str) -> Inputs:
    stages = {stage: folder / stage for stage in ("frames", "mels", "skeletons")}
    return open_inputs(folder / "manifest.csv", **stages, modalities=modalities)


def changed(inputs: Inputs, clip_id: str, /, **changes) -> Inputs:
    clips = tuple(replace(c, **changes) if c.clip_id == clip_id else c for c in inputs.manifest.clips)
    return replace(inputs, manifest=replace(inputs.manifest, clips=clips))


def evaluated(inputs, about=ABOUT, **how):
    """Return what a model says of val, and the clips that its backbone was shown, batch by batch."""
    shown, model = [], make_model().eval()
    model.backbones["rgb"].register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    fabric = launch(device="cpu", threads=1, precision="fp32")
    (scores,) = score_splits(model, about, inputs, ["val"], fabric=fabric, **how)
    return scores, shown


# --- what training reads ----------------------------------------------------------------------------------------------


def test_a_source_has_the_clips_of_its_split_live_or_cached(inputs, tmp_path):
    for split, count in (("train", 10), ("val", 5), ("test", 3)):
        source = inputs.source(split, **VIEW)
        assert isinstance(source, LiveClips) and {clip.split for clip in source.clips} == {split}
        assert len(source) == count == len(source.labels["action"])
    make_features(tmp_path / "f.h5", inputs.manifest)
    cached = inputs.with_features(tmp_path / "f.h5", IDENTITY).source("val", **VIEW)
    assert isinstance(cached, CachedTokens) and len(cached) == 5


def test_the_epoch_is_chosen_by_the_views_that_are_evaluated(inputs):
    """The middle of each picture, by the size that the backbone asks for; training cuts out of all of it."""
    p = load(Path(__file__).parents[2] / "recipes/demo.yaml")
    whole, middle = (
        replace(ABOUT, model={**ABOUT.model, "backbones": {"rgb": {**BACKBONE, "input_px": 10, "crop_frac": share}}})
        for share in (1.0, 0.5)
    )
    train, val = sources_of(p, middle, inputs)
    shown = val.plain_batch(np.arange(5))["rgb"]
    assert torch.equal(shown, torch.cat([inputs.folders["rgb"][clip.clip_id] for clip in val.clips])[:, :, 5:15, 5:15])
    _, (seen,) = evaluated(inputs, middle, batch_size=5)
    assert torch.equal(seen, shown)
    rows = np.arange(10)
    assert torch.equal(
        train.training_batch(rows, 1)["rgb"], sources_of(p, whole, inputs)[0].training_batch(rows, 1)["rgb"]
    )


def test_each_scale_is_shown_and_probabilities_are_averaged_over_them(inputs):
    def said(*scales):
        return evaluated(inputs, batch_size=5, views=views_of({"clips": 1, "flip": False, "scales": [*scales]}))

    (one, _), (other, _), (both, shown) = said(1.0), said(1.5), said(1.0, 1.5)
    assert [clips.shape[-3:-1] for clips in shown] == [(16, 16), (24, 24)]
    assert not np.allclose(one.probs, other.probs)
    assert both.probs == pytest.approx((one.probs + other.probs) / 2)


@pytest.mark.parametrize(("batch_size", "sizes"), [(2, [2, 2, 1]), (5, [5])])
def test_so_many_clips_are_evaluated_at_a_time(inputs, batch_size, sizes):
    _, shown = evaluated(inputs, batch_size=batch_size)
    assert [len(clips) for clips in shown] == sizes


def test_training_views_are_those_of_the_section_train(inputs):
    """Not those of `features`, which are the same in the recipe."""
    p = load(Path(__file__).parents[2] / "recipes/demo.yaml")
    still = p.train.augment.rgb.model_copy(update={**PLAIN["rgb"]})
    augment = p.train.augment.model_copy(update={"rgb": still})
    q, rows = p.model_copy(update={"train": p.train.model_copy(update={"augment": augment})}), np.arange(10)
    for params, is_plain in ((p, False), (q, True)):
        train, _ = sources_of(params, ABOUT, inputs)
        assert torch.equal(train.training_batch(rows, 1)["rgb"], train.plain_batch(rows)["rgb"]) == is_plain


def test_features_of_something_else_are_refused(inputs, tmp_path):
    make_features(tmp_path / "f.h5", inputs.manifest)
    with pytest.raises(UserError, match="features of something else"):
        inputs.with_features(tmp_path / "f.h5", {"rgb": {**IDENTITY["rgb"], "views": 4}})


def test_a_split_without_clips_is_named(inputs):
    empty = replace(inputs, manifest=Manifest(tuple(inputs.manifest.of_split("train")), ("action",)))
    with pytest.raises(UserError, match=r"the val split has no usable clip.*data\.split\.val_frac"):
        empty.source("val", **VIEW)


def test_clips_without_a_tensor_are_left_out(tmp_path):
    manifest = make_manifest()
    folder = make_folder(tmp_path / "frames", manifest)
    index = {"enabled": True, "sharded": False, "spec": {n: getattr(folder.spec, n) for n in folder.spec.__slots__}}
    kept = [clip.clip_id for clip in manifest.clips if clip.clip_id not in ("train03", "val00")]
    write_index(tmp_path / "frames", {**index, "clips": {i: {"file": f"{i}.pt", "sha256": "0"} for i in kept}})
    (tmp_path / "manifest.csv").write_text(dump(manifest))
    opened = open_from(tmp_path, "rgb")
    assert [clip.clip_id for clip in opened.manifest.clips] == kept
    assert len(opened.source("train", **VIEW)) == 9


def write_stages(folder: Path) -> Manifest:
    """Leave what open_inputs reads: pictures of all clips but val00, sound of all but the silent ones."""
    manifest = make_manifest()
    for name, made, missing in (
        ("frames", make_folder(folder / "frames", manifest), {"val00"}),
        ("mels", make_mels(folder / "mels", manifest), {*SILENT}),
    ):
        clips = {i: {"file": i, "sha256": d} for i, d in made.digests.items() if i not in missing}
        index = {"enabled": True, "sharded": False, "spec": asdict(made.spec), "clips": clips, "absent": {}}
        write_index(folder / name, index)
    (folder / "manifest.csv").write_text(dump(manifest))
    return manifest


def test_a_clip_without_sound_is_left_out_only_by_a_model_that_has_nothing_but_ears(tmp_path):
    every = [clip.clip_id for clip in write_stages(tmp_path).clips]
    both, ears = open_from(tmp_path, "rgb", "audio"), open_from(tmp_path, "audio")
    assert [clip.clip_id for clip in both.manifest.clips] == [i for i in every if i != "val00"]
    assert [clip.clip_id for clip in ears.manifest.clips] == [i for i in every if i not in SILENT]
    assert (both.clip_spec, both.sound_spec) == (SPEC, SOUND_SPEC)
    assert (ears.clip_spec, ears.sound_spec) == (None, SOUND_SPEC)
    eyes = open_from(tmp_path, "rgb")
    assert (eyes.clip_spec, eyes.sound_spec, list(eyes.folders)) == (SPEC, None, ["rgb"])


def test_nothing_that_can_be_used_is_told(tmp_path):
    write_stages(tmp_path)
    write_index(
        tmp_path / "mels", {"enabled": True, "sharded": False, "spec": asdict(SOUND_SPEC), "clips": {}, "absent": {}}
    )
    with pytest.raises(UserError, match=r"no clip can be used\. quarantine_\*\.csv and sound\.csv"):
        open_from(tmp_path, "audio")


def test_stages_that_have_not_run_are_named(tmp_path):
    with pytest.raises(UserError, match=r"index\.json: not there.*dvc repro"):
        open_from(tmp_path, "rgb")


# --- on what a result depends -----------------------------------------------------------------------------------------


def test_the_digest_is_of_the_splits_that_are_asked_for(inputs):
    digest = inputs.digest(["train", "val"])
    assert inputs.digest(["train", "val"]) == digest
    assert changed(inputs, "test01", labels={"action": "b"}).digest(["train", "val"]) == digest
    assert inputs.digest(["train", "val", "test"]) != digest
    assert inputs.digest(["train"]) != digest


@pytest.mark.parametrize("change", [{"labels": {"action": "c"}}, {"labels": {}}, {"split": "val"}, {"clip_id": "zz"}])
def test_the_digest_sees_every_change(inputs, change):
    other = changed(inputs, "train00", **change)
    other.folders["rgb"].digests["zz"] = "digest of train00"
    assert other.digest(["train", "val"]) != inputs.digest(["train", "val"])


def test_the_digest_sees_other_sound_and_sound_at_all(both):
    digest = both.digest(["train", "val"])
    assert replace(both, folders={"rgb": both.folders["rgb"]}).digest(["train", "val"]) != digest
    sounds = both.folders["audio"].digests
    sounds["test01"] = "other"
    assert both.digest(["train", "val"]) == digest
    sounds["val02"] = "other"
    changed_sound = both.digest(["train", "val"])
    assert changed_sound != digest
    del sounds["val02"]
    assert both.digest(["train", "val"]) not in (digest, changed_sound)


def test_the_digest_sees_samples_and_which_heads_may_say_several_classes(inputs):
    digest = inputs.digest(["train", "val"])
    assert changed(inputs, "val00", sample="s").digest(["train", "val"]) != digest
    several = replace(inputs, manifest=replace(inputs.manifest, multi_label=frozenset({"action"})))
    assert several.digest(["train", "val"]) != digest


def test_the_digest_sees_other_pixels_and_other_features(inputs, tmp_path):
    digest = inputs.digest(["train", "val"])
    inputs.folders["rgb"].digests["val02"] = "other"
    assert inputs.digest(["train", "val"]) != digest
    make_features(tmp_path / "f.h5", inputs.manifest, views=1)
    make_features(tmp_path / "g.h5", inputs.manifest, views=2)
    cached = [inputs.with_features(tmp_path / name, IDENTITY).digest(["train"]) for name in ("f.h5", "g.h5", "f.h5")]
    assert cached[0] == cached[2] != cached[1] and cached[0] != inputs.digest(["train"])


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("train", {"lr": 0.00123}),
        ("train", {"epochs": 31}),
        ("train", {"batch_size": 3}),
        ("train", {"precision": "bf16"}),
        ("compute", {"threads": 1}),
        ("compute", {"channels_last": False}),
        (None, {"seed": 1}),
    ],
)
def test_a_changed_setting_never_takes_up_an_old_state(inputs, section, change):
    params = load(Path(__file__).parents[2] / "recipes/demo.yaml")
    key = run_key(params, ABOUT, inputs, device="cpu")
    assert run_key(params, ABOUT, inputs, device="cpu") == key
    new = change if section is None else {section: getattr(params, section).model_copy(update=change)}
    assert run_key(params.model_copy(update=new), ABOUT, inputs, device="cpu") != key


def test_other_data_weights_or_devices_never_take_up_an_old_state(inputs):
    params = load(Path(__file__).parents[2] / "recipes/demo.yaml")
    key = run_key(params, ABOUT, inputs, device="cpu")
    weights = replace(ABOUT, weights_sha256={"rgb": "a" * 64})
    others = [(ABOUT, inputs, "cuda:0"), (weights, inputs, "cpu"), (ABOUT, changed(inputs, "val00", labels={}), "cpu")]
    assert key not in [run_key(params, about, data, device=device) for about, data, device in others]


def test_what_does_not_concern_training_leaves_its_state(inputs):
    params = load(Path(__file__).parents[2] / "recipes/demo.yaml")
    other = params.model_copy(update={"recipe": "x", "evaluate": params.evaluate.model_copy(update={"batch_size": 1})})
    assert run_key(other, ABOUT, inputs, device="cpu") == run_key(params, ABOUT, inputs, device="cpu")
