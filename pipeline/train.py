"""Stage train: fit the model on the train split, choose the epoch on val; a killed run goes on where it stopped."""

from dataclasses import replace
from pathlib import Path

from actrec.console import Debug, run, say
from actrec.params import Params, load
from actrec.params.load import plain
from actrec.training.processes import together
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write models/best.pt, models/last.pt and results/history.csv."""
    p = load(params)  # checked before torch is imported: a typo is refused within a second
    with together(p.train.devices, ["-m", "pipeline.train", "--params", str(params)]):
        fit(p)


def fit(p: Params) -> None:
    """Train, from where an interrupted run of the same experiment stopped; the first of several processes writes."""
    from actrec.store.cas import open_store
    from actrec.store.files import write_atomic
    from actrec.training.board import board
    from actrec.training.checkpoint import save_model
    from actrec.training.device import launch
    from actrec.training.fit import Run
    from actrec.training.history import dump_history, epoch_printer
    from actrec.training.settings import Settings
    from pipeline.model import checkpoint_of, fresh_model, inputs_for, inputs_of, run_key

    t, c = p.train, p.compute
    fabric = launch(device=c.device, threads=c.threads, precision=t.precision, devices=t.devices)
    is_first, inputs = fabric.is_global_zero, inputs_of(p.data.name, p.model.backbones.used)
    model = fresh_model(p, inputs)
    about = checkpoint_of(p, model, inputs)
    inputs = inputs_for(p, about, inputs)
    view = {"backbones": about.model["backbones"], "augment": plain(t.augment), "seed": p.seed}
    sources = [inputs.source(split, **view) for split in ("train", "val")]
    settings = Settings(**plain(t, without=["augment", "precision", "devices", "tensorboard"]))
    task = {"heads": about.model["heads"], "classes": about.classes, "seed": p.seed, "settings": settings}
    show, board_of = epoch_printer(t.select_on, settings.total_epochs), paths.RESULTS / "tensorboard"
    with open_store(near=paths.MODELS) as store, board(board_of, enabled=t.tensorboard and is_first) as write:
        state = fabric.broadcast(store.unfinished(run_key(p, about, inputs, device=str(fabric.device))))
        said = "going on with an interrupted run" if state.exists() else "starting"
        say(f"train: {said} on {f'{t.devices} x ' if t.devices > 1 else ''}{fabric.device}")
        training = Run(model, *sources, **task, fabric=fabric, checkpoint=state)
        fitted = training.fit(lambda row: (show(row), write(training.state.history)))
        if is_first:
            save_model(paths.MODELS / "best.pt", replace(about, epoch=fitted.best_epoch), fitted.best)
            save_model(paths.MODELS / "last.pt", replace(about, epoch=len(fitted.history)), fitted.last)
            write_atomic(paths.RESULTS / "history.csv", dump_history(fitted.history))
            state.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
