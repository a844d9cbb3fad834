"""Streams with heads of their own from params.yaml to the tables: checkpoints, what learns, and names of outputs."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from posed_clips import ACTS, BACKBONES, PLAIN, open_project, write_project
from ruamel.yaml import YAML
from tiny_runs import ADAMW, CONSTANT, EAR, SETTINGS, SGD, SOUND_SPEC, SPEC, ignore

from actrec.errors import UserError
from actrec.media.clip import read_clip
from actrec.media.probe import probe
from actrec.models.recogniser import build
from actrec.models.weights import sha256_of
from actrec.params import load
from actrec.report import write
from actrec.report.tables import predictions_csv
from actrec.training.checkpoint import Checkpoint, load_model, save_model
from actrec.training.data import Inputs
from actrec.training.device import launch
from actrec.training.evaluate import score_splits
from actrec.training.fit import Run
from actrec.training.history import dump_history
from actrec.training.optimizer import make_optimizer
from actrec.training.settings import Settings
from actrec.training.views import plain_view
from actrec.training.windows import predict_files
from pipeline.model import checkpoint_of, fresh_model, identity_of, run_key

REPO = Path(__file__).resolve().parents[2]
NONE = {"kind": "none"}
LATERALS = {"kind": "rgbpose_conv3d", "kernel": 3, "interaction": False, "rgb_drop": 0.0, "pose_drop": 0.0}
LATERALS |= {"weights": NONE}
HEAD = {"kind": "linear", "dropout": 0.0, "loss_weight": 1.0}
ON = {"calibration": True, "diversity": True, "tree": True, "rectification": True}
PCAN = {
    **{"fine": "act", "coarse": "action", **ON, "calibration_weight": 0.2, "false_negative_factors": [1.0, 0.1, 0.5]},
    **{"diversity_weight": 0.2, "tree_weight": 1.0, "rectification_weights": {"rgb": 5.0, "pose": 1.0}},
    **{"fine_width": 6, "coarse_width": 5, "momentum": 0.9, "temperature": 0.125, "doubt_scale": 0.125},
}
OUTPUTS = (
    *(f"rgbpose_{ratio}/{head}" for ratio in ("1:1", "2:1") for head in ("act", "action")),
    *(f"{modality}/{head}" for modality in ("rgb", "pose") for head in ("act", "action")),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("posed")
    write_project(folder)
    return folder


@pytest.fixture
def inputs(root) -> Inputs:
    return open_project(root)


@pytest.fixture
def params(tmp_path):
    """Return a function that loads the demo's recipe with tiny streams: params(laterals=…, pcan=…, rgb=…, pose=…)."""

    def make(*, laterals=LATERALS, pcan=None, rgb=None, pose=None):
        yaml = YAML(typ="safe", pure=True)
        content = yaml.load((REPO / "recipes/rgbpose-demo.yaml").read_text(encoding="utf-8"))
        content["model"] = {
            "backbones": {"rgb": {**BACKBONES["rgb"], **(rgb or {})}, "pose": {**BACKBONES["pose"], **(pose or {})}},
            "neck": {"kind": "late", "ratios": [[1, 1], [2, 1]], "laterals": laterals, "pcan": pcan},
            "heads": {"act": HEAD, "action": HEAD},
        }
        with (tmp_path / "p.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
        return load(tmp_path / "p.yaml")

    return make


def logits_of(model, inputs):
    source = inputs.source("val", backbones=BACKBONES, augment={}, seed=0)
    with torch.inference_mode():
        return model.eval()(source.plain_batch(np.arange(3)))


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(values, other[name]) for name, values in one.items())


# --- checkpoints ------------------------------------------------------------------------------------------------------


def weights_file(path, network):
    torch.save({name: value.clone() for name, value in network.state_dict().items()}, path)
    return {"kind": "file", "path": str(path), "sha256": sha256_of(path)}


def test_a_model_that_started_from_files_is_rebuilt_without_them(params, inputs, tmp_path):
    first = fresh_model(params(laterals=NONE), inputs)
    files = {m: weights_file(tmp_path / f"{m}.pt", first.backbones[m].network) for m in ("rgb", "pose")}
    p = params(rgb={"weights": files["rgb"]}, pose={"weights": files["pose"]}).model_copy(update={"seed": 7})
    model = fresh_model(p, inputs)
    assert torch.equal(
        model.backbones["rgbpose"].rgb.network.conv1[0].weight, first.backbones["rgb"].network.conv1[0].weight
    )
    about = checkpoint_of(p, model, inputs)
    assert about.weights_sha256 == model.weights_sha256 == {m: file["sha256"] for m, file in files.items()}
    assert {m: backbone["weights"] for m, backbone in about.model["backbones"].items()} == {"rgb": NONE, "pose": NONE}
    assert (about.layout, about.clip_spec, about.sound_spec) == ("coco17", inputs.clip_spec, None)
    check_round_trip(about, model, inputs, tmp_path)


def test_laterals_that_started_from_a_file_are_rebuilt_without_it(params, inputs, tmp_path):
    """The file is a checkpoint of actrec: of a model whose streams see each other."""
    first = fresh_model(params(), inputs)
    for parameter in first.parameters():
        parameter.data += 0.01
    save_model(tmp_path / "first.pt", checkpoint_of(params(), first, inputs), first.state_dict())
    digest = sha256_of(tmp_path / "first.pt")
    file = {"kind": "file", "path": str(tmp_path / "first.pt"), "sha256": digest}
    p = params(laterals={**LATERALS, "weights": file})
    model = fresh_model(p, inputs)
    assert equal(model.backbones.state_dict(), first.backbones.state_dict())
    about = checkpoint_of(p, model, inputs)
    assert about.weights_sha256 == {"rgb": digest, "pose": digest}
    assert about.model["neck"]["laterals"] == LATERALS
    assert about.model["neck"]["ratios"] == [[1, 1], [2, 1]]
    check_round_trip(about, model, inputs, tmp_path)


@pytest.mark.parametrize("laterals", [NONE, LATERALS], ids=["none", "rgbpose_conv3d"])
def test_prototypes_and_parents_are_in_the_checkpoint(params, inputs, tmp_path, laterals):
    p = params(laterals=laterals, pcan=PCAN)
    model = fresh_model(p, inputs)
    about = checkpoint_of(p, model, inputs)
    assert about.parents == (0, 0, 1, 1)
    for level in model.pcan.fine.values():
        torch.nn.init.normal_(level.prototypes)
    check_round_trip(about, model, inputs, tmp_path)


def check_round_trip(about, model, inputs, folder):
    for path in folder.glob("*.pt"):
        path.unlink()
    expected = logits_of(model, inputs)
    save_model(folder / "best.pt", about, model.state_dict())
    loaded, found = load_model(folder / "best.pt")
    assert isinstance(found, Checkpoint) and found == about
    assert equal(logits_of(loaded, inputs), expected)
    assert equal(logits_of(about.rebuild(model.state_dict()), inputs), expected)


def test_weights_laterals_and_skeletons_make_other_runs_and_features(params, inputs, root, tmp_path):
    def key(p, data=inputs):
        return run_key(p, checkpoint_of(p, fresh_model(p, data), data), data, device="cpu")

    first = key(params())
    assert key(params()) == first
    assert (
        len({first, key(params(laterals=NONE)), key(params(pcan=PCAN)), key(params(pose={"token_grid": [1, 1]}))}) == 4
    )
    identities = []
    for p in (params(laterals=NONE), params(laterals=NONE, pose={"heatmaps": {"of": "limbs", "sigma_px": 0.6}})):
        identities.append(identity_of(p, checkpoint_of(p, fresh_model(p, inputs), inputs), inputs))
    one, other = identities
    assert set(one) == {"rgb", "pose"} and one["rgb"] == other["rgb"] and one["pose"] != other["pose"]


# --- which coarse class a fine one is of ------------------------------------------------------------------------------


def relabelled(inputs, **labels):
    clips = tuple(replace(c, labels=labels.get(c.clip_id, c.labels)) for c in inputs.manifest.clips)
    return replace(inputs, manifest=replace(inputs.manifest, clips=clips))


def test_parents_are_what_the_clips_say(inputs):
    assert inputs.manifest.classes == {"act": ACTS, "action": ("sit", "wave")}
    assert inputs.parents("act", "action") == (0, 0, 1, 1)
    # A clip with one label of the two says nothing.
    assert relabelled(inputs, val0={"act": ACTS[0]}, val1={"action": "wave"}).parents("act", "action") == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"val2": {"act": "wave ball", "action": "sit"}}, r"\{'wave ball': \['sit', 'wave'\]\}"),
        ({"val2": {"act": "jump"}}, r"\{'jump': \[\]\}"),
    ],
)
def test_a_class_of_two_parents_or_none_is_named(params, inputs, labels, expected):
    wrong = relabelled(inputs, **labels)
    with pytest.raises(UserError, match=rf"model\.neck\.pcan: each class of act belongs to one of action.*{expected}"):
        fresh_model(params(pcan=PCAN), wrong)
    fresh_model(params(), wrong)  # without PCAN nobody asks


# --- what learns ------------------------------------------------------------------------------------------------------


def group_names(model, factor=0.5):
    """Return the names of the parameters in each group of the optimizer, by factor."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(SGD, model, backbone_lr_factor=factor)
    groups = {group["factor"]: [names[id(p)] for p in group["params"]] for group in optimizer.param_groups}
    assert len(groups) == len(optimizer.param_groups)
    return {rate: {name.partition(".")[0] for name in own} for rate, own in groups.items()}, groups


def test_pcan_learns_with_the_heads_and_frozen_streams_do_not(params, inputs):
    model = fresh_model(params(pcan=PCAN), inputs)
    parts, names = group_names(model)
    assert parts == {1.0: {"heads", "pcan"}, 0.5: {"backbones"}}
    learning = sorted(name for own in names.values() for name in own)
    assert learning == sorted(name for name, _ in model.named_parameters())
    model.freeze("rgbpose")
    assert group_names(model)[0] == {1.0: {"heads", "pcan"}}
    frozen = fresh_model(params(laterals=NONE, rgb={"frozen": True}), inputs)
    assert all(name.startswith("backbones.pose.") for name in group_names(frozen)[1][0.5])


def test_a_projection_that_only_compares_does_not_learn(params, inputs):
    off = {**PCAN, "calibration": False, "diversity": False, "tree": False}
    model = fresh_model(params(pcan=off), inputs)
    assert any(name.startswith("pcan.") for name, _ in model.named_parameters())
    assert group_names(model)[0] == {1.0: {"heads"}, 0.5: {"backbones"}}


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(params, inputs, tmp_path):
    """Return a function that makes a run of the tiny model: run(select_on=…, pcan=…, …)."""

    def make(*, pcan=None, select_on="rgbpose_1:1/act.top1", heads=None, **changes):
        model = fresh_model(params(pcan=pcan), inputs)
        sources = (inputs.source(split, backbones=BACKBONES, augment=PLAIN, seed=0) for split in ("train", "val"))
        settings = {**SETTINGS, "lr": 0.01, "optimizer": ADAMW, "schedule": CONSTANT, "select_on": select_on, **changes}
        return Run(
            model,
            *sources,
            settings=Settings(**settings),
            fabric=launch(device="cpu", threads=1, precision="fp32"),
            heads=heads or {"act": HEAD, "action": HEAD},
            classes=inputs.manifest.classes,
            seed=0,
            checkpoint=tmp_path / "state.pt",
        )

    return make


def test_validation_is_told_of_each_output_by_its_name(run):
    fitted = run(epochs=2, select_on="rgbpose_2:1/action.loss").fit(ignore)
    columns = [name for name in fitted.history[0] if name.endswith("_loss") and name.startswith("val_")]
    assert columns == [f"val_{output}_loss" for output in OUTPUTS]
    for row in fitted.history:
        assert row["val_score"] == row["val_rgbpose_2:1/action_loss"] > 0
    best = min(fitted.history, key=lambda row: row["val_rgbpose_2:1/action_loss"])
    assert fitted.best_epoch == best["epoch"]
    (first, _) = csv.DictReader(dump_history(fitted.history).splitlines())
    assert float(first["val_rgbpose_1:1/act_top1"]) in (0, 0.25, 0.5, 0.75, 1)


def test_a_fused_output_chooses_the_epoch(run, monkeypatch):
    """Streams alone would choose the first epoch and the last one."""
    training = run(epochs=3, select_on="rgbpose_1:1/act.top1")
    real, epoch = training._validate, iter(range(3))

    def scripted():
        scores, now = real(), next(epoch)
        for output, values in (("rgb/act", (3, 2, 1)), ("rgbpose_1:1/act", (1, 3, 2)), ("pose/act", (1, 2, 3))):
            scores[f"val_{output}_top1"] = values[now] / 4
        return scores

    monkeypatch.setattr(training, "_validate", scripted)
    fitted = training.fit(ignore)
    assert fitted.best_epoch == 2 and [row["is_best"] for row in fitted.history] == [True, True, False]
    assert not equal(fitted.best, fitted.last)


def test_penalties_of_each_stream_are_columns_and_prototypes_move(run):
    fitted = run(epochs=2, pcan=PCAN).fit(ignore)
    names = ("calibration_fine", "diversity", "tree", "calibration_coarse")
    assert [name for name in fitted.history[0] if name.startswith("train_") and "/" in name] == [
        f"train_{stream}/{name}" for stream in ("rgb", "pose") for name in names
    ]
    assert fitted.last["pcan.coarse.rgb.prototypes"].any()


def test_loss_weights_a_modality(run):
    """Heads of a stream of weight 0 stay as they are."""
    weights = {"rgb": 0.0, "pose": 1.0}
    training = run(
        epochs=1, heads={name: {**HEAD, "loss_weight": weights} for name in ("act", "action")}, optimizer=SGD
    )
    before = {name: value.clone() for name, value in training._core.state_dict().items()}
    after = training.fit(ignore).last
    moved = {
        name.split(".")[1] for name in after if name.startswith("heads.") and not torch.equal(after[name], before[name])
    }
    outputs = [training._core.outputs[int(number)] for number in sorted(moved)]
    assert outputs == ["pose/act", "pose/action"]


@pytest.fixture
def scores(params, inputs):
    p = params()
    model = fresh_model(p, inputs)
    fabric = launch(device="cpu", threads=1, precision="fp32")
    return score_splits(model.eval(), checkpoint_of(p, model, inputs), inputs, ["val"], batch_size=4, fabric=fabric)


def test_a_model_of_other_classes_is_refused(params, inputs):
    p = params()
    model = fresh_model(p, inputs)
    about = checkpoint_of(p, model, inputs)
    other = replace(about, classes={**about.classes, "action": ("sit", "zap")})
    fabric = launch(device="cpu", threads=1, precision="fp32")
    with pytest.raises(UserError, match=r"action: .* only the model: \['zap'\], only the manifest: \['wave'\]\."):
        score_splits(model.eval(), other, inputs, ["val"], batch_size=4, fabric=fabric)


def test_scores_of_fused_outputs_are_the_streams_averaged(scores):
    assert [(s.split, s.head) for s in scores] == [("val", output) for output in OUTPUTS]
    by_name = {s.head: s for s in scores}
    for head, classes in (("act", ACTS), ("action", ("sit", "wave"))):
        rgb, pose = (by_name[f"{m}/{head}"].probs for m in ("rgb", "pose"))
        assert not np.allclose(rgb, pose)
        assert by_name[f"rgbpose_1:1/{head}"].probs == pytest.approx((rgb + pose) / 2)
        assert by_name[f"rgbpose_2:1/{head}"].probs == pytest.approx((2 * rgb + pose) / 3)
        assert {s.class_names for name, s in by_name.items() if name.endswith(f"/{head}")} == {classes}
    assert by_name["rgb/act"].labels.tolist() == [0, 1, 2, 3] and by_name["rgb/action"].labels.tolist() == [0, 0, 1, 1]


def test_tables_have_the_outputs_names_and_files_have_none_of_their_signs(scores, run, tmp_path):
    rows = list(csv.DictReader(predictions_csv(scores).splitlines()))
    assert [row["head"] for row in rows[::4]] == list(OUTPUTS) and len(rows) == 4 * len(OUTPUTS)
    (tmp_path / "history.csv").write_text(dump_history(run(epochs=1).fit(ignore).history))
    some = [s for s in scores if s.head in ("rgbpose_2:1/act", "pose/action")]
    metrics = write.metrics_tree(some, bootstrap_samples=0, seed=0)
    assert list(metrics["val"]) == ["rgbpose_2:1/act", "pose/action"]
    out, how = tmp_path / "results", {"history_csv": tmp_path / "history.csv", "select_on": "rgbpose_1:1/act.top1"}
    write.results(out, some, metrics=metrics, pictures={}, **how)
    assert {path.name for path in (out / "confusion").iterdir()} == {"val_rgbpose_2-1_act.csv", "val_pose_action.csv"}
    plots = {path.name for path in (out / "plots").iterdir()}
    assert {"val_rgbpose_2-1_act_confusion.png", "val_pose_action_confusion.png", "training_curves.png"} <= plots
    files = [path for path in out.rglob("*") if path.is_file()]
    assert all(
        not set(path.name) & set(':/"') and path.parent.name in ("results", "plots", "confusion") for path in files
    )
    assert "rgbpose_2:1/act" in (out / "per_class.csv").read_text()


# --- single videos ----------------------------------------------------------------------------------------------------


def test_a_video_is_judged_by_each_stream_and_by_both(tmp_path, make_clip):
    """A model of pictures and sound, and a video without any: the ear says nothing, and is not asked."""
    path = make_clip(tmp_path / "a.mp4", 9, num_frames=8)
    rgb = {"kind": "small3d", "width": 4, "weights": NONE, "frozen": False, "input_px": 16, "crop_frac": 1.0}
    spec = {
        "backbones": {"rgb": rgb, "audio": EAR},
        "neck": {"kind": "late", "ratios": [[3, 1], [0, 1]], "laterals": NONE, "pcan": None},
        "heads": {"act": HEAD},
    }
    classes = {"act": ("a", "b", "c", "d")}
    options = {"multi_label": (), "channels_last": False, "seed": 0}
    model = build(spec, classes=classes, clip_frames=SPEC.clip_frames, **options).eval()
    about = Checkpoint(
        **{"model": spec, "classes": classes, "clip_spec": SPEC, "sound_spec": SOUND_SPEC, "layout": "", "parents": ()},
        **{"typical_s": 1.6, "weights_sha256": {"rgb": "", "audio": ""}, "epoch": 1, **options},
    )
    found = list(predict_files([path], model, about, window_s=None, device=torch.device("cpu"), workers=1))
    rows = {row.head: row for row in found}
    assert list(rows) == ["rgb/act", "rgbaudio_3:1/act"] and {row.status for row in found} == {"ok"}
    with torch.inference_mode():
        tokens = model.tokens_of("rgb", plain_view(read_clip(path, probe(path), SPEC), input_px=16, crop_frac=1.0))
        probs = model.heads[0](tokens.mean(dim=1)).softmax(dim=1).mean(dim=0)
    best = int(probs.argmax())
    assert (rows["rgb/act"].predicted, rows["rgb/act"].prob) == (
        "abcd"[best],
        pytest.approx(float(probs[best]), abs=1e-4),
    )
    assert rows["rgbaudio_3:1/act"] == replace(rows["rgb/act"], head="rgbaudio_3:1/act")


@pytest.mark.parametrize("change", [{"layout": "coco17"}, {"clip_spec": replace(SPEC, region="persons")}])
def test_a_video_without_a_skeleton_is_not_for_a_model_that_was_shown_some(params, inputs, tmp_path, make_clip, change):
    p = params()
    model = fresh_model(p, inputs)
    about = replace(checkpoint_of(p, model, inputs), **{"layout": "", "clip_spec": SPEC, **change})
    path = make_clip(tmp_path / "a.mp4", 9)
    with pytest.raises(UserError, match=r"shown skeletons.*data\.skeletons.*dvc repro evaluate"):
        list(predict_files([path], model, about, window_s=None, device=torch.device("cpu"), workers=1))
