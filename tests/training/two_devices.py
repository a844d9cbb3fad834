"""Training runs that the tests make in one process and, by this script, in two.

python two_devices.py FOLDER all: writes FOLDER/ends.pkl, what each run ends with.
python two_devices.py FOLDER killed: makes one run, saving its state after each update, and writes FOLDER/killed.pkl.
"""

import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from test_resume import Killed, dying
from tiny_runs import (
    ADAMW,
    AUGMENT,
    BACKBONE,
    HEAD,
    MBT,
    Bench,
    Ear,
    Kind,
    compiling_nothing,
    ignore,
    make_bench,
    make_model,
    outcome,
)
from torch import distributed, nn

from actrec.errors import UserError
from actrec.models.backbone import Backbone
from actrec.models.mbt import Mbt
from actrec.models.recogniser import MeanNeck, Recogniser
from actrec.training.device import launch
from actrec.training.fit import Run
from actrec.training.predict import predict, predict_together
from actrec.training.processes import together
from actrec.training.ranks import Ranks, Rows, own_rows
from actrec.training.sources import Batches

NO_DROPOUT = {**HEAD, "dropout": 0.0}
MLP = {"kind": "mlp", "hidden": 8, "dropout": 0.0, "loss_weight": 2.0}


class Eye(Backbone):
    """Clips (B, T, H, W, 3) to a token a frame, without batch norm."""

    def __init__(self) -> None:
        super().__init__(width=16)
        self.see = nn.Linear(3, 16)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.see(batch.float().mean(dim=(2, 3)) / 25)


class Opinionated(nn.Linear):
    """Has a parameter for each class, which only clips of this class have to do with; and counts the labels."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__(16, 3)
        self.extra = nn.ParameterList(torch.ones(1) for _ in range(3))
        self.register_buffer("seen", torch.zeros(3))


class Penalised(Recogniser):
    """Adds to the loss how large the logits are; a class that no clip of a batch has gets no gradient."""

    def learn(self, batch: Any) -> Any:
        (head,), labels = self.heads, batch["labels"]["action"]
        assert isinstance(head, Opinionated)
        logits = self(batch)["action"]
        counts = torch.bincount(labels[labels >= 0], minlength=3).float()
        if distributed.is_initialized():
            distributed.all_reduce(counts)
        head.seen += counts
        for number, extra in enumerate(head.extra):
            if (labels == number).any():
                logits = logits + extra * (labels == number)[:, None] * torch.eye(3)[number]
        return {"action": logits}, {"size": 0.1 * logits.square().mean(), "nothing": logits.sum() * 0}


def seeded(make: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def of_eye() -> Recogniser:
    return seeded(lambda: Recogniser({"rgb": Eye()}, MeanNeck(16), {"action": nn.Linear(16, 3)}))


def penalised() -> Recogniser:
    return seeded(lambda: Penalised({"rgb": Eye()}, MeanNeck(16), {"action": Opinionated()}))


def of_both() -> Recogniser:
    """Return a head on cached tokens of two modalities, without dropout."""
    options = {name: value for name, value in MBT.items() if name != "kind"} | {"dropout": 0.0}

    def make() -> Recogniser:
        neck = Mbt(widths={"rgb": 16, "audio": Ear.tokens_width}, **options)
        return Recogniser({"rgb": make_model().backbones["rgb"], "audio": Ear()}, neck, {"action": nn.Linear(8, 3)})

    model = seeded(make)
    model.freeze("rgb", "audio")
    return model


def relabelled(bench: Bench, *names: str, multi_label: bool = False) -> Bench:
    """Return the bench with labels that go round `names`; '' is none."""
    manifest = bench.inputs.manifest
    clips = tuple(
        replace(clip, labels={"action": name} if (name := names[i % len(names)]) else {})
        for i, clip in enumerate(manifest.clips)
    )
    manifest = replace(manifest, clips=clips, multi_label=frozenset({"action"} if multi_label else ()))
    return replace(bench, inputs=replace(bench.inputs, manifest=manifest))


@dataclass(frozen=True)
class Planned:
    """A run to be made: its kind, a fresh model, other settings than `tiny_runs` has, and labels that go round."""

    kind: Kind
    model: Callable[[], Recogniser]
    changes: dict[str, Any]
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    with_sound: bool = False

    def end(self, bench: Bench, both: Bench) -> dict[str, Any]:
        chosen = both if self.with_sound else bench
        chosen = relabelled(chosen, *self.labels, multi_label=self.multi_label) if self.labels else chosen
        with compiling_nothing():
            return outcome(chosen.run(self.kind, model=self.model(), **self.changes).fit(ignore))


PLAIN = partial(make_model, frozen=True, head=NO_DROPOUT)
MAP = {"select_on": "action.map_macro"}
# The number of processes makes no difference to them but in the last digits. There are ten clips to learn from, so the
# last batch is of one or two; batches are of 4 where nothing is said.
RUNS = {
    "a head on cached features": Planned("cached", partial(make_model, frozen=True, head=MLP), {}),
    "a last batch of one clip": Planned("cached", PLAIN, {"batch_size": 3, "accumulate": 2, "optimizer": ADAMW}),
    "batches of two": Planned("cached", PLAIN, {"batch_size": 2, "accumulate": 3, "clip_norm": 0.1}),
    "clips without labels": Planned("cached", PLAIN, {"batch_size": 3}, labels=("a", "", "", "b", "c")),
    "several classes a clip": Planned(
        "cached",
        partial(PLAIN, multi_label=("action",)),
        {"batch_size": 3, **MAP},
        labels=("a|b", "", "b|c", "a|c"),
        multi_label=True,
    ),
    "picture and sound": Planned("cached", of_both, {"lr": 0.01, "batch_size": 3}, with_sound=True),
    "a frozen backbone with batch norm": Planned("live", PLAIN, {"epochs": 2}),
    "frozen, then free": Planned(
        "live", of_eye, {"freeze": {"epochs": 1, "lr": 0.1}, "epochs": 2, "accumulate": 2, "batch_size": 3}
    ),
    "compiled": Planned(
        "live", of_eye, {"freeze": {"epochs": 1, "lr": 0.1}, "epochs": 1, "batch_size": 3, "compiled": True}
    ),
    "penalties": Planned("live", penalised, {"epochs": 3, "batch_size": 3}),
    "classes all alike": Planned("cached", PLAIN, {"batch_size": 3, "sampler": "balanced"}),
    "a weight a class": Planned("cached", PLAIN, {"batch_size": 3, "class_weights": {"b": 0.0, "a": 1.0, "c": 6.1}}),
    "seldom validated": Planned("cached", PLAIN, {"epochs": 5, "validation": {"from_epoch": 2, "every_epochs": 2}}),
}


def benches(folder: Path, fabric: Any) -> tuple[Bench, Bench]:
    first, both = (replace(make_bench(folder / f"{sound}", sound=sound), fabric=fabric) for sound in (False, True))
    return first, both


def ends_of(bench: Bench, both: Bench) -> dict[str, Any]:
    return {name: planned.end(bench, both) for name, planned in RUNS.items()}


def predictions(bench: Bench) -> dict[int, np.ndarray]:
    """Return what a model says of the first clips, for numbers of them that two processes share unequally."""
    train = bench.inputs.source("train", backbones={"rgb": BACKBONE}, augment=AUGMENT, seed=0)
    fabric, found = bench.fabric, {}
    for count in (1, 2, 3, 10):
        source = Rows(train, np.arange(count))
        batches = Batches(own_rows(source, Ranks(fabric.global_rank, fabric.world_size)))
        found[count] = predict_together(make_model(), batches, count, fabric=fabric, batch_size=3)["action"]
    return found


def batch_norm_run(bench: Bench, **more: Any) -> Run:
    """Return a run whose processes normalise and mix clips of their own, and drop out things of their own."""
    changes = {"epochs": 2, "optimizer": ADAMW, "freeze": {"epochs": 1, "lr": 0.1}, "accumulate": 2, "mixup_alpha": 0.4}
    return bench.run("live", **changes, **more)


def batch_norm(bench: Bench) -> dict[str, Any]:
    """Return what such a run ends with, and what its model says alone of what was last validated."""
    run = batch_norm_run(bench)
    end = outcome(run.fit(ignore))
    last_seed = torch.initial_seed()  # of the last step's dropout
    alone = predict(run._core, Batches(run._val), device=bench.fabric.device, batch_size=2)["action"]
    return {**end, "probs": alone, "labels": run._val.labels["action"].numpy(), "seed": last_seed}


def resumed(bench: Bench, folder: Path) -> list[dict[str, Any]]:
    """Return the ends of such runs that died before a step, and were taken up."""
    ends = []
    for calls in (2, 4, 6, 9):
        make = partial(batch_norm_run, bench, state=folder / f"{calls}.pt", save_every_s=0)
        try:
            dying(make(), "_step", calls=calls).fit(ignore)
        except Killed:
            ends.append(outcome(make().fit(ignore)))
    return ends


def diverged(bench: Bench) -> str:
    """Return what is said when the clips of the second process alone make the loss infinite."""
    run = bench.run("cached", epochs=1, batch_size=10)
    if bench.fabric.global_rank == bench.fabric.world_size - 1:
        run._train_batches._source._views["rgb"] *= float("inf")
    try:
        run.fit(ignore)
    except UserError as error:
        return str(error)
    return ""


def main(folder: Path, what: str) -> None:
    with together(2, [__file__, str(folder), what], lock=folder / "lock"):
        fabric = launch(device="cpu", threads=1, precision="fp32", devices=2)
        bench, both = benches(folder / f"{what} {fabric.global_rank}", fabric)
        if what == "killed":
            found: Any = outcome(batch_norm_run(bench, state=folder / "killed.pt", save_every_s=0).fit(ignore))
        else:
            found = {
                "ends": ends_of(bench, both),
                "predictions": predictions(bench),
                "batch norm": batch_norm(bench),
                "again": batch_norm(bench),
                "resumed": resumed(bench, folder),
                "diverged": diverged(bench),
            }
        (folder / f"{what} {fabric.global_rank}.pkl").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
