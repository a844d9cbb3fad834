"""Stage train: fit the model on the train split, choose the epoch on val; a killed run goes on where it stopped."""

from dataclasses import replace
from pathlib import Path

from actrec.console import Debug, run, say
from actrec.params import Params, load
from actrec.params.load import plain
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write models/best.pt, models/last.pt and results/history.csv."""
    fit(load(params))  # checked before torch is imported: a typo is refused within a second


def fit(p: Params) -> None:
    """Train, from where an interrupted run of the same experiment stopped, and write the outs."""
    from actrec.store.cas import open_store
    from actrec.store.files import write_atomic
    from actrec.training.checkpoint import save_model
    from actrec.training.device import launch
    from actrec.training.fit import Run
    from actrec.training.history import dump_history, epoch_printer
    from actrec.training.settings import Settings
    from pipeline.model import checkpoint_of, fresh_model, inputs_for, inputs_of, run_key

    fabric = launch(device=p.compute.device, threads=p.compute.threads, precision=p.train.precision)
    inputs = inputs_of(p.data.name, p.model.backbones.used)
    model = fresh_model(p, inputs)
    about = checkpoint_of(p, model, inputs)
    inputs = inputs_for(p, about, inputs)
    view = {"input_px": about.input_px, "augment": plain(p.train.augment), "seed": p.seed}
    settings = Settings(**plain(p.train, without=["augment", "precision"]))
    with open_store(near=paths.MODELS) as store:
        state = store.unfinished(run_key(p, about, inputs, device=str(fabric.device)))
        say(f"train: {'going on with an interrupted run' if state.exists() else 'starting'} on {fabric.device}")
        fitted = Run(
            model,
            inputs.source("train", **view),
            inputs.source("val", **view),
            settings=settings,
            fabric=fabric,
            heads=about.model["heads"],
            classes=about.classes,
            seed=p.seed,
            checkpoint=state,
        ).fit(epoch_printer(p.train.select_on, settings.total_epochs))
        save_model(paths.MODELS / "best.pt", replace(about, epoch=fitted.best_epoch), fitted.best)
        save_model(paths.MODELS / "last.pt", replace(about, epoch=len(fitted.history)), fitted.last)
        write_atomic(paths.RESULTS / "history.csv", dump_history(fitted.history))
        state.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
