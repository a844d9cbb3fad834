"""Stage features: frozen backbones run once over every clip, into HDF5; off, it says so and does nothing."""

import json
from pathlib import Path

from actrec.console import Debug, run
from actrec.params import Params, load
from actrec.params.load import plain
from actrec.store.files import write_atomic
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write data/processed/<dataset>/features.h5, and features.json that says what is in it."""
    p = load(params)
    out, index = paths.features(p.data.name), paths.features_index(p.data.name)
    if p.features.enabled:
        identity = cache(p, out)
    else:
        identity = None
        write_atomic(out, b"")
    write_atomic(index, json.dumps({"enabled": p.features.enabled, "identity": identity}, indent=1) + "\n")


def cache(p: Params, out: Path) -> dict[str, object]:
    """Write the feature file and return what identifies it."""
    from actrec.store.cas import open_store
    from actrec.training.data import open_inputs
    from actrec.training.device import launch
    from actrec.training.extract import cache_features
    from pipeline.model import checkpoint_of, fresh_model, identity_of

    fabric = launch(device=p.compute.device, threads=p.compute.threads, precision=p.features.precision)
    inputs = open_inputs(paths.manifest(p.data.name), paths.frames(p.data.name))
    model = fresh_model(p, inputs)
    identity = identity_of(p, checkpoint_of(p, model, inputs), inputs)
    with open_store(near=out) as store:
        cache_features(
            out,
            model,
            inputs,
            identity=identity,
            **plain(p.features, without=["enabled"]),
            input_px=p.model.backbones.rgb.input_px,
            seed=p.seed,
            fabric=fabric,
            store=store,
        )
    return identity


if __name__ == "__main__":
    run(main)
