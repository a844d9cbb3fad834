"""What the stages features, train and evaluate hand on of params.yaml to what does their work."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from tiny_runs import ABOUT, make_inputs, make_manifest, same

from actrec.errors import UserError
from actrec.params import Params, load
from actrec.params.load import plain
from actrec.training.data import Inputs
from actrec.training.views import PlainViews
from pipeline import evaluate, features, train
from pipeline.model import checkpoint_of, fresh_model, identity_of, sources_of

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture
def inputs(tmp_path) -> Inputs:
    return make_inputs(tmp_path, make_manifest())


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """Return a function that puts a recorder in a function's place and returns its calls: recorded("module.f", 5).

    The recorder returns what is given beside the name; nothing given, the stage goes no further.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTREC_CACHE", str(tmp_path / "cache"))

    def put(name, *answer):
        calls = []

        def record(*args, **options):
            calls.append((args, options))
            if not answer:
                raise UserError("no further")
            return answer[0]

        monkeypatch.setattr(name, record)
        return calls

    return put


def changed(section: str | None = None, **settings: Any) -> Params:
    """Return the demo's settings on a CPU, but for some of one section or of the file itself."""
    p = load(RECIPES / "demo.yaml")
    p = p.model_copy(update={"compute": p.compute.model_copy(update={"device": "cpu", "threads": 1})})
    own = {section: getattr(p, section).model_copy(update=settings)} if section else settings
    return p.model_copy(update=own)


# --- pipeline/model.py ------------------------------------------------------------------------------------------------


def test_another_seed_gives_other_weights_views_and_features(inputs):
    weights, shown, told = [], [], []
    for p in (changed(), changed(), changed(seed=1)):
        model = fresh_model(p, inputs)
        about = checkpoint_of(p, model, inputs)
        weights.append(model.state_dict())
        shown.append(sources_of(p, ABOUT, inputs)[0].training_batch(np.arange(10), 1)["rgb"])
        told.append((about.seed, identity_of(p, about, inputs)["rgb"]["seed"]))
    assert same(weights[0], weights[1]) and not same(weights[0], weights[2])
    assert torch.equal(shown[0], shown[1]) and not torch.equal(shown[0], shown[2])
    assert told == [(0, 0), (0, 0), (1, 1)]


@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_are_last_in_memory_where_that_is_asked_for(inputs, channels_last):
    p = changed("compute", channels_last=channels_last)
    model = fresh_model(p, inputs)
    about = checkpoint_of(p, model, inputs)
    for built in (model, about.rebuild(model.state_dict())):
        weight = next(own for own in built.parameters() if own.dim() == 5)
        assert weight.is_contiguous(memory_format=torch.channels_last_3d) == channels_last
        assert weight.is_contiguous() != channels_last
    assert about.channels_last == channels_last


# --- stages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [1, 3])
def test_features_are_made_by_their_section(inputs, recorded, views):
    """Not by that of train, from which the augmentation and the precision differ."""
    p = changed(seed=4)
    still = p.features.augment.rgb.model_copy(update={"min_area_frac": 0.9, "flip_prob": 0.25})
    own = {"augment": p.features.augment.model_copy(update={"rgb": still}), "precision": "bf16"}
    section = p.features.model_copy(update={**own, "views": views, "batch_size": 5})
    recorded("pipeline.model.live_inputs", inputs)
    calls = recorded("actrec.training.extract.cache_features")
    with pytest.raises(UserError, match="no further"):
        features.cache(p.model_copy(update={"features": section}), Path("features.h5"))
    ((_, options),) = calls
    augment = {"rgb": {"min_area_frac": 0.9, "flip_prob": 0.25, "color_jitter": 0.0, "randaugment": None}}
    expected = {"views": views, "augment": augment, "precision": "bf16", "batch_size": 5, "seed": 4}
    assert {name: options[name] for name in expected} == expected
    assert options["backbones"] == plain(p.model.backbones)


@pytest.mark.parametrize(("compiled", "seed"), [(False, 3), (True, 4)])
def test_training_is_told_its_seed_and_whether_it_is_compiled(inputs, recorded, compiled, seed):
    recorded("pipeline.model.live_inputs", inputs)
    runs = recorded("actrec.training.fit.Run")
    with pytest.raises(UserError, match="no further"):
        train.fit(changed("compute", compile=compiled).model_copy(update={"seed": seed}), refuse_edits=lambda: None)
    ((_, options),) = runs
    assert (options["compiled"], options["seed"]) == (compiled, seed)


def test_evaluation_is_asked_for_what_its_section_says(recorded):
    params = YAML(typ="safe", pure=True).load((RECIPES / "rgbpose-demo.yaml").read_text(encoding="utf-8"))
    grad_cam = {"clips": 2, "worst_classes": 1, "clips_per_class": 3}
    own = {"splits": ["test", "val"], "contributions": False, "attention_clips": 0, "worst_clips": 5}
    own |= {"grad_cam": grad_cam}
    params["seed"] = 4
    params["evaluate"] |= {**own, "views": {"clips": 2, "flip": True, "scales": [1.0, 1.25]}, "batch_size": 3}
    params["evaluate"] |= {"bootstrap_samples": 7}
    params["evaluate"] |= {"submission": {"fine": "act", "coarse": "action", "output": "rgbpose_2:1"}}
    YAML(typ="safe", pure=True).dump(params, Path("params.yaml"))

    model: Any = SimpleNamespace(neck=None, modalities=("rgb", "pose"))
    about: Any = SimpleNamespace(model=params["model"])
    recorded("actrec.training.device.launch", "the fabric")
    recorded("actrec.training.checkpoint.load_model", (model, about))
    recorded("pipeline.model.live_inputs", "the clips")
    scored = recorded("actrec.training.evaluate.score_splits", "the scores")
    measured = recorded("actrec.report.write.metrics_tree", "the metrics")
    analysed = recorded("actrec.explain.analysis.analyse", ({}, {}))
    written = recorded("actrec.report.write.results")
    with pytest.raises(UserError, match="no further"):
        evaluate.main()

    views = [PlainViews(clips=2, flip=True, scale=scale) for scale in (1.0, 1.25)]
    shown = {"views": views, "batch_size": 3, "fabric": "the fabric"}
    assert scored == [((model, about, "the clips", ["test", "val"]), shown)]
    assert measured == [(("the scores",), {"levels": ("act", "action"), "bootstrap_samples": 7, "seed": 4})]
    root = {"root": Path("data/raw/demo")}
    assert analysed == [((model, about, "the clips", "the scores"), {**root, **own, **shown})]
    ((_, options),) = written
    assert options["submission"] == ("rgbpose_2:1/act", "rgbpose_2:1/action")
    assert (options["metrics"], options["modalities"]) == ("the metrics", ("rgb", "pose"))
