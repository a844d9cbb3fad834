"""Stage features: frozen backbones run once over every clip, into HDF5; off, it says so and does nothing."""

from pathlib import Path

from actrec import paths
from actrec.console import Debug
from actrec.params import Params, load
from actrec.params.load import plain
from actrec.store.tree import write_stub_file
from pipeline.recorded import run_stage


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write data/processed/<dataset>/features.h5, or the line {"enabled": false} in its place."""
    p = load(params)
    if p.features.enabled:
        cache(p, paths.features(p.data.name))
    else:
        write_stub_file(paths.features(p.data.name))


def cache(p: Params, out: Path) -> None:
    """Run the backbones over what the store lacks, and write the file."""
    from actrec.store.cas import open_store
    from actrec.training.device import launch
    from actrec.training.extract import cache_features
    from actrec.training.feature_report import say_health
    from pipeline.model import checkpoint_of, fresh_model, identity_of, live_inputs

    fabric = launch(device=p.compute.device, threads=p.compute.threads, precision=p.features.precision)
    inputs = live_inputs(p.data.name, p.model.backbones.used)
    model = fresh_model(p, inputs)
    identity = identity_of(p, checkpoint_of(p, model, inputs), inputs)
    with open_store(near=out) as store:
        cache_features(
            out,
            model,
            inputs,
            identity=identity,
            **plain(p.features, without=["enabled"]),
            backbones=plain(p.model.backbones),
            seed=p.seed,
            fabric=fabric,
            store=store,
        )
    say_health(inputs.with_features(out, identity))


if __name__ == "__main__":
    run_stage("features", main)
