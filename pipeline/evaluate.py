"""Stage evaluate: the best checkpoint on the splits that are asked for; metrics, tables, plots, and what made them."""

import json
from datetime import UTC, datetime
from pathlib import Path

from actrec.console import Debug, run, say
from actrec.params import load
from actrec.params.load import plain
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write everything in results/ but history.csv, which training wrote."""
    p = load(params)  # checked before torch is imported: a typo is refused within a second
    from actrec.data import quarantine
    from actrec.explain.analysis import analyse
    from actrec.report.run_record import run_record
    from actrec.report.tables import show_summary
    from actrec.report.write import metrics_tree, results, run_costs
    from actrec.store.files import write_atomic
    from actrec.training.checkpoint import load_model
    from actrec.training.device import launch
    from actrec.training.evaluate import score_splits
    from pipeline.model import inputs_for, inputs_of

    started, out, history = datetime.now(UTC), paths.RESULTS, paths.RESULTS / "history.csv"
    fabric = launch(device=p.compute.device, threads=p.compute.threads, precision="fp32")
    model, about = load_model(paths.MODELS / "best.pt")
    inputs = inputs_for(p, about, inputs_of(p.data.name, about.model["backbones"]))
    scores = score_splits(model, about, inputs, p.evaluate.splits, batch_size=p.evaluate.batch_size, fabric=fabric)
    metrics = metrics_tree(scores, bootstrap_samples=p.evaluate.bootstrap_samples, seed=p.seed)
    analysis, pictures = analyse(
        model, about, inputs, **plain(p.evaluate, without=["bootstrap_samples"]), fabric=fabric
    )
    results(out, scores, metrics=metrics, history_csv=history, select_on=p.train.select_on, pictures=pictures)
    bad = [b for s in ("ingest", "frames", "mels") for b in quarantine.load(paths.quarantine(p.data.name, s))]
    write_atomic(out / "quarantine.csv", quarantine.dump(bad))
    counts = {"clips": {"used": len(inputs.manifest.clips), "quarantined": len(bad)}, "training": run_costs(history)}
    write_atomic(out / "metrics.json", json.dumps({**metrics, **analysis, **counts}, indent=1) + "\n")
    record = run_record(
        repo=Path(),
        seed=p.seed,
        threads=p.compute.threads,
        device=str(fabric.device),
        data_digest=inputs.digest(["train", "val", "test"]),
        params=plain(p),
        started=started,
        ended=datetime.now(UTC),
    )
    write_atomic(out / "run.json", json.dumps(record, indent=1) + "\n")
    show_summary(scores, metrics)
    if Path(p.data.root) == paths.DEMO:
        say("These clips are SYNTHETIC: the scores show that the pipeline works, and nothing about a model's worth.")


if __name__ == "__main__":
    run(main)
