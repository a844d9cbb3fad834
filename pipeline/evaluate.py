"""Stage evaluate: the best checkpoint on the splits that are asked for; metrics, tables, plots, and what made them."""

import json
from datetime import UTC, datetime
from pathlib import Path

from actrec import paths
from actrec.console import Debug, say
from actrec.params.load import load, plain
from pipeline.recorded import run_stage


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write everything in results/ but history.csv, which training wrote."""
    p = load(params)  # checked before torch is imported: a typo is refused within a second
    from actrec.data import quarantine
    from actrec.explain.analysis import analyse
    from actrec.report.run_record import run_record
    from actrec.report.tables import show_summary
    from actrec.report.write import levels_of, metrics_tree, results, run_costs
    from actrec.store.files import write_atomic
    from actrec.training.checkpoint import load_model
    from actrec.training.device import launch
    from actrec.training.evaluate import score_splits
    from actrec.training.feature_report import health_numbers
    from actrec.training.views import views_of
    from pipeline.model import inputs_of, live_inputs

    started, out, history = datetime.now(UTC), paths.RESULTS, paths.HISTORY
    fabric = launch(device=p.compute.device, threads=p.compute.threads, precision="fp32")
    model, about = load_model(paths.BEST)
    inputs = inputs_of(p, about, live_inputs(p.data.name, about.model["backbones"]))
    e, c = p.evaluate, p.data.coarse
    shown = {"views": views_of(plain(e.views)), "batch_size": e.batch_size, "fabric": fabric}
    scores = score_splits(model, about, inputs, e.splits, **shown)
    levels = levels_of(about.model, c and (c.of, c.head))
    metrics = metrics_tree(scores, levels=levels, bootstrap_samples=e.bootstrap_samples, seed=p.seed)
    asked = plain(e, without=["bootstrap_samples", "views", "batch_size", "submission"])
    analysis, pictures = analyse(model, about, inputs, scores, root=Path(p.data.root), **asked, **shown)
    chosen = {"select_on": p.train.select_on, "submission": e.submission and e.submission.outputs}
    streams = () if model.neck else model.modalities
    results(out, scores, metrics=metrics, pictures=pictures, history_csv=history, modalities=streams, **chosen)
    lists = (paths.quarantine(p.data.name, stage) for stage in ("ingest", "skeletons", "frames", "mels"))
    bad = [item for listed in lists for item in quarantine.load(listed)]
    write_atomic(out / "quarantine.csv", quarantine.dump(bad))
    used = {clip.clip_id for clip in inputs.manifest.clips}  # of these only sound or skeleton may be in the list
    clips = {"used": len(used), "quarantined": len({item.clip_id for item in bad} - used)}
    numbers = {**metrics, **analysis, **health_numbers(inputs), "clips": clips, "training": run_costs(history)}
    write_atomic(paths.METRICS, json.dumps(numbers, indent=1) + "\n")
    computed = {"seed": p.seed, "threads": p.compute.threads, "device": str(fabric.device), "params": plain(p)}
    digest, ended = inputs.digest(["train", "val", "test"]), datetime.now(UTC)
    record = run_record(repo=Path(), **computed, data_digest=digest, started=started, ended=ended)
    write_atomic(out / "run.json", json.dumps(record, indent=1) + "\n")
    show_summary(scores, metrics)
    if Path(p.data.root) == paths.DEMO:
        say("These clips are SYNTHETIC: the scores show that the pipeline works, and nothing about a model's worth.")


if __name__ == "__main__":
    run_stage("evaluate", main)
