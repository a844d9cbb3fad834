"""The command `actrec`, also `python -m actrec`: what is not a stage of the pipeline."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from actrec import paths
from actrec.console import Debug, examples, own_version, run, say
from actrec.errors import UserError
from actrec.words import counted

app = typer.Typer(
    name="actrec",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Recognise actions and behaviour in video, images, sound and skeletons. The pipeline runs by `dvc repro`; "
    "here is what goes around it.",
    epilog=examples("actrec recipe --list", "actrec predict data/raw/demo/clips --out predictions.csv"),
)


def _recipe_names() -> list[str]:
    return sorted(path.stem for path in paths.RECIPES.glob("*.yaml"))


def _sweep_names() -> list[str]:
    return sorted(path.stem for path in paths.SWEEPS.glob("*.yaml"))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"actrec {own_version()}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None: ...


@app.command(epilog=examples("actrec recipe --list", "actrec recipe linear-probe"))
def recipe(
    name: Annotated[str | None, typer.Argument(help="One of recipes/*.yaml.", autocompletion=_recipe_names)] = None,
    show: Annotated[bool, typer.Option("--list", help="List the recipes and say what is active.")] = False,
) -> None:
    """Make a recipe the active experiment, and print what changed.

    It is copied to params.yaml. Without a name, list them; in a terminal, ask
    for one.
    """
    from actrec.recipes import activate, describe_all, missing_data, missing_weights, named

    asks = name is None and not show and sys.stdin.isatty() and sys.stdout.isatty()
    if show or name is None:
        for line in describe_all(paths.RECIPES, paths.PARAMS, numbered=asks):
            print(line)
    if asks:
        asked = typer.prompt("Which one, by number or name? Enter leaves all as it is", default="", show_default=False)
        name = named(asked.strip(), paths.RECIPES)
    if show or not name:
        return
    for line in activate(name, paths.RECIPES, paths.PARAMS):
        print(line)
    for line in missing_weights(paths.PARAMS):
        say(line)
    say(f"{paths.PARAMS} is now the recipe {name}. {missing_data(paths.PARAMS)}Run it: dvc repro")


@app.command(epilog=examples("actrec predict clip.mp4", "actrec predict videos/ --out predictions.csv"))
def predict(
    source: Annotated[Path, typer.Argument(help="A video, a sound or a picture, or a folder of them.")],
    out: Annotated[Path | None, typer.Option(help="Write a CSV here instead of printing it.")] = None,
    checkpoint: Annotated[Path, typer.Option(help="A model that `train` wrote.")] = paths.BEST,
    window_s: Annotated[
        float | None, typer.Option(min=0.05, help="Look at long videos in windows of so many seconds.")
    ] = None,
) -> None:
    """Say what the model sees or hears in a file, or in a folder's.

    A bad file gets a row that says what is wrong with it; the others go on.
    """
    from actrec.predict import predict_to_csv

    text, num_bad = predict_to_csv(source, checkpoint=checkpoint, window_s=window_s)
    num_rows = text.count("\n") - 1
    if out is None:
        print(text, end="")
    else:
        from actrec.store.files import write_atomic

        write_atomic(out, text)
        say(f"{out}: {counted(num_rows, 'row')}, {num_bad} of them of files that cannot be used: see the column status")
    if num_bad == num_rows:
        raise typer.Exit(1)


@app.command(epilog=examples("actrec compare", "actrec compare workspace HEAD 'optimiser-*' --pool --out compare.md"))
def compare(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Names of experiments (* and ? stand for others), branches, commits.")
    ] = None,
    pool: Annotated[bool, typer.Option("--pool", help="One row for runs that differ in their seed alone.")] = False,
    head: Annotated[str | None, typer.Option(help="Only this head.")] = None,
    metric: Annotated[str | None, typer.Option(help="This one instead of top1 (or map_macro).")] = None,
    all_commits: Annotated[bool, typer.Option("--all-commits", help="Also experiments of other commits.")] = False,
    plot: Annotated[Path, typer.Option(help="The picture to write.")] = paths.RESULTS / "compare.png",
    out: Annotated[Path | None, typer.Option(help="Also write the table here, a .csv or .md file.")] = None,
) -> None:
    """Show experiments side by side, as a table and a picture.

    What differs, the scores on val and test with 95 % intervals, minutes and
    memory. Without names: every experiment of the current commit, newest
    first, that commit, and the workspace if it is none of these.
    """
    from actrec.compare.side_by_side import compare as side_by_side

    shown = {"pooled": pool, "head": head, "metric": metric, "all_commits": all_commits}
    side_by_side(experiments or [], **shown, plot=plot, out=out).show(sys.stdout)


@app.command(epilog=examples("actrec sweep optimiser-demo --dry-run", "actrec sweep optimiser-demo"))
def sweep(
    name: Annotated[
        str | None, typer.Argument(help="One of sweeps/*.yaml, or such a file.", autocompletion=_sweep_names)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the commands, run none.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Put the recorded runs aside and start anew.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run those again that failed.")] = False,
) -> None:
    """Run the experiments of a sweep file; make one table and picture.

    Without a name, list the sweeps. After an interruption the same command
    goes on; params.yaml and all outputs end as they were.
    """
    from actrec.sweep.sweep import describe_sweeps, dry_run_lines, planned, run_sweep

    if name is None:
        lines = describe_sweeps()
    elif dry_run:
        lines = dry_run_lines(planned(name))
    else:
        swept = run_sweep(name, restart=restart, retry=retry)
        swept.table.show(sys.stdout)
        if swept.failures:
            say(swept.failures)
            raise typer.Exit(1)
        return
    for line in lines:
        print(line)


@app.command(epilog=examples("actrec fuse 3:1", "actrec fuse 2:1 --scores old/scores.npz"))
def fuse(
    ratio: Annotated[str, typer.Argument(help="A number a modality, such as 3:1.")],
    scores: Annotated[Path, typer.Option(help="What `evaluate` wrote.")] = paths.SCORES,
) -> None:
    """Weigh the modalities anew, by their saved scores: no model runs.

    A line a split and head says how good they are together in that ratio.
    """
    from actrec.fuse import fused_table

    print(fused_table(ratio, scores=scores))


@app.command(epilog=examples("actrec export --to svm.skops", "actrec export --to old.skops --checkpoint old/best.pt"))
def export(
    to: Annotated[Path, typer.Option(help="The file to write.")],
    checkpoint: Annotated[Path, typer.Option(help="A model with svm heads that `train` wrote.")] = paths.BEST,
) -> None:
    """Write a trained support vector machine for scikit-learn.

    The file is one of skops; whoever has it needs no actrec.
    """
    from actrec.export import export_svm

    heads = export_svm(checkpoint, to)
    say(f"{to}: {', '.join(heads)}. Read it by: skops.io.load('{to.name}')")


@app.command(
    epilog=examples(
        "actrec images data.parquet --to data/raw/images",
        "actrec images saved/ --to data/raw/images --split train --split test",
    )
)
def images(
    source: Annotated[str, typer.Argument(help="A hub id, owner/name; or a saved data set, or parquet files.")],
    to: Annotated[Path, typer.Option(help="The new folder, for data.root.")],
    revision: Annotated[str | None, typer.Option(help="Of a hub id: the 40 digits of a commit.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be given several times.")] = None,
    image_column: Annotated[str, typer.Option(help="The column with the pictures.")] = "image",
    label_column: Annotated[str, typer.Option(help="The column with the classes.")] = "label",
) -> None:
    """Make folders of a Hugging Face data set of pictures.

    A folder a split, in it one a class. It needs the extra hub of actrec.
    """
    from actrec.hub_images import import_images

    columns = {"image_column": image_column, "label_column": label_column}
    counts = import_images(source, to, revision=revision, splits=split or [], **columns)
    for name, count in counts.items():
        print(f"{name:12} {count:>9,} pictures")
    say(f"{to}: in params.yaml, data.root: {to}, and data.reader.splits says which folder is train, val, test")


@app.command(
    epilog=examples(
        "actrec skeletons clip.mp4 --weights rtmo-s.onnx",
        "actrec skeletons clips --weights rtmo-s.onnx --out clips/skeletons.pkl",
    )
)
def skeletons(
    source: Annotated[Path, typer.Argument(help="A video, or a folder of them.")],
    weights: Annotated[Path, typer.Option(help="The ONNX file of an RTMO model for the 17 joints of COCO.")],
    out: Annotated[Path, typer.Option(help="The pickle to write, for data.skeletons.")] = Path("skeletons.pkl"),
    max_persons: Annotated[int, typer.Option(min=1, help="How many people of each video are kept.")] = 2,
) -> None:
    """Find people's joints in videos, by a model of your own.

    It needs the extra pose of actrec.
    """
    from actrec.skeletons import skeletons_to_pickle
    from actrec.store.files import write_atomic

    content, wrong = skeletons_to_pickle(source, weights=weights, max_persons=max_persons)
    write_atomic(out, content)
    for line in wrong:
        say(line)
    say(f"{out}: in params.yaml, data.skeletons: {{kind: pyskl, path: {out.name}, layout: coco17}}")


@app.command(epilog=examples("actrec cache", "actrec cache --prune 20GB"))
def cache(
    prune: Annotated[str | None, typer.Option(help="Remove the longest unused entries down to this, as 20GB.")] = None,
) -> None:
    """Show how big the store is, and prune it."""
    from actrec.store.cas import Store, store_root

    root = store_root()
    if root is None:
        raise UserError("the store is switched off: ACTREC_CACHE=off")
    store = Store(root)
    if prune is not None:
        say(f"removed {_size(store.prune(_bytes(prune)))}")
    stages: dict[str, list[int]] = {}
    for path, size, _ in store.entries():
        stages.setdefault(path.relative_to(root).parts[0], []).append(size)
    for stage, sizes in sorted(stages.items()):
        print(f"{stage:16} {len(sizes):>9,} items {_size(sum(sizes)):>10}")
    print(f"{root}: {_size(sum(map(sum, stages.values())))}; prune it by: actrec cache --prune 20GB")


@app.command(epilog=examples("actrec schema", "actrec schema > recipes/schema.json"))
def schema() -> None:
    """Print the JSON schema of params.yaml, for editors.

    recipes/schema.json is this.
    """
    from actrec.params.schema import Params

    print(json.dumps(Params.model_json_schema(), indent=1))


def _bytes(text: str) -> int:
    units = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?B)", text.strip().upper())
    if not found:
        raise UserError(f"--prune is '{text}', expected a size such as 500MB or 20GB")
    return int(float(found[1]) * units[found[2]])


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def main() -> None:
    """Run the command line."""
    run(app)
