"""Stage train: fit the model on train, choose epoch or C on val; a killed run goes on where it stopped."""

from collections.abc import Callable
from pathlib import Path

from actrec import paths
from actrec.console import Debug, say
from actrec.params import Params, load
from actrec.params.load import plain
from actrec.training.processes import together
from pipeline.recorded import recorded, run_stage


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write models/best.pt, models/last.pt and results/history.csv."""
    p = load(params)  # checked before torch is imported: a typo is refused within a second
    command = ["-m", "pipeline.train", "--params", str(params)]
    with together(p.train.devices, command, lock=paths.TRAINING):
        fit(p, refuse_edits=recorded("train", params))


def fit(p: Params, *, refuse_edits: Callable[[], None]) -> None:
    """Train, from where an interrupted run of the same experiment stopped; the first of several processes writes."""
    from actrec.store.cas import open_store
    from actrec.training.announce import start_text
    from actrec.training.board import board
    from actrec.training.device import launch
    from actrec.training.fit import Run
    from actrec.training.history import epoch_printer, fit_printer, write_history
    from actrec.training.settings import Settings
    from actrec.training.svm import SvmRun
    from pipeline.model import checkpoint_of, fresh_model, inputs_of, live_inputs, run_key, sources_of

    t, c = p.train, p.compute
    fabric = launch(device=c.device, threads=c.threads, precision=t.precision, devices=t.devices)
    is_first, inputs = fabric.is_global_zero, live_inputs(p.data.name, p.model.backbones.used)
    model = fresh_model(p, inputs)
    about = checkpoint_of(p, model, inputs)
    inputs = inputs_of(p, about, inputs)
    settings = Settings(**plain(t, without=["augment", "precision", "devices", "tensorboard"]))
    task = {"heads": about.model["heads"], "classes": about.classes, "seed": p.seed, "settings": settings}
    tensorboard = board(paths.RESULTS / "tensorboard", enabled=t.tensorboard and is_first)
    with open_store(near=paths.MODELS) as store, tensorboard as write:
        state = fabric.broadcast(store.unfinished(run_key(p, about, inputs, device=str(fabric.device))))
        say(start_text(plain(p), inputs.manifest, goes_on=state.exists(), device=str(fabric.device)))
        if all(head.kind == "svm" for head in p.model.heads.values()):
            training, show = SvmRun(model, inputs, **task, fabric=fabric), fit_printer(t.select_on)
        else:
            sources, show = sources_of(p, about, inputs), epoch_printer(t.select_on, settings.total_epochs)
            training = Run(model, *sources, **task, fabric=fabric, checkpoint=state, compiled=c.compile)
        fitted = training.fit(lambda row: (show(row), write(training.state.history), refuse_edits()))
        if is_first:
            fitted.save(paths.BEST, paths.LAST, about)
            write_history(paths.HISTORY, fitted.history)
            state.unlink(missing_ok=True)


if __name__ == "__main__":
    run_stage("train", main)
