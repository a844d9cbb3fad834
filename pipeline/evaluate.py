"""Stage evaluate: the best checkpoint on the splits that are asked for; metrics, tables, plots, and what made them."""

import json
from pathlib import Path

from actrec.console import Debug, run, say
from actrec.params import Params, load
from actrec.params.load import plain
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write results/metrics.json, predictions.csv, per_class.csv, confusion.csv, quarantine.csv, run.json and plots/."""
    evaluate(load(params))


def evaluate(p: Params) -> None:
    """Run the model and write the outs."""
    from actrec.data import quarantine
    from actrec.store.files import write_atomic
    from actrec.training.checkpoint import load_model
    from actrec.training.data import open_inputs
    from actrec.training.device import launch
    from actrec.training.predict import predict
    from actrec.training.scores import scores_of
    from actrec.training.sources import Batches
    from pipeline.model import inputs_for

    fabric = launch(device=p.compute.device, threads=p.compute.threads, precision="fp32")
    model, about = load_model(paths.MODELS / "best.pt")
    inputs = open_inputs(paths.manifest(p.data.name), paths.frames(p.data.name))
    inputs = inputs_for(p, about, inputs)
    runner = fabric.setup_module(model)
    scores = []
    for split in p.evaluate.splits:
        source = inputs.source(split, input_px=about.model["backbones"]["rgb"]["input_px"], augment={}, seed=p.seed)
        probs = predict(runner, Batches(source), device=fabric.device, batch_size=p.evaluate.batch_size)
        scores += scores_of(split, source, probs, about.classes)
