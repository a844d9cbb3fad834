"""Stage ingest: the user's files to the manifest, a row a clip; what cannot be used goes to a list beside it."""

from functools import partial
from pathlib import Path

from actrec import paths
from actrec.console import Debug, say
from actrec.data import manifest, quarantine
from actrec.data.checks import check_rows, check_skeleton_rows
from actrec.data.coarse import with_coarse
from actrec.data.collect import make_manifest, set_aside, set_aside_skeletons, summary, warnings
from actrec.data.problems import Problems
from actrec.data.readers import read_index
from actrec.data.root import check_root
from actrec.data.skeleton_index import skeletons_of
from actrec.params import load
from actrec.params.load import plain
from actrec.store.cas import store_root
from actrec.store.digests import Memory, digest_files, inspect_clips
from actrec.store.files import write_atomic
from actrec.store.skeleton_files import index_skeletons
from pipeline.recorded import run_stage


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write the manifest of all usable clips, and the list of the others."""
    data = load(params).data
    root, fractions = Path(data.root), data.split.model_dump(exclude={"seed", "train_frac"})
    check_root(root)
    problems, media = Problems(str(root)), data.media
    with Memory(store_root()) as memory:
        source = data.skeletons and plain(data.skeletons)
        known = index_skeletons(root, source, memory=memory, problems=problems)
        index = read_index(root, plain(data.reader), media=media, skeletons=known, problems=problems)
        index = with_coarse(index, data.coarse and plain(data.coarse), root=root, problems=problems)
        skeletons = skeletons_of(index.rows, known, problems)
        table = {"multi_label": index.multi_label, "problems": problems, **fractions}
        if media == "skeleton":
            digests = {clip_id: entry.sha256 for clip_id, entry in skeletons.items()}
            check_skeleton_rows(index.rows, digests, **table)
            problems.stop_if_any()
            usable, bad = set_aside_skeletons(index.rows, skeletons)
        else:
            found = check_rows(index.rows, root=root, hasher=partial(digest_files, memory=memory), **table)
            problems.stop_if_any()
            files, sounds = inspect_clips(found, root=root, memory=memory, problems=problems)
            usable, bad = set_aside(index.rows, files, sounds, skeletons, media=media)
    bad_list = paths.quarantine(data.name, "ingest")
    write_atomic(bad_list, quarantine.dump(bad))
    limits = {"max_bad_frac": data.max_bad_frac, "total": len(index.rows), "listed_in": bad_list}
    quarantine.check_losses(manifest.Manifest((), index.heads), bad, **limits)
    labels = {"heads": index.heads, "multi_label": index.multi_label}
    made, note = make_manifest(usable, rows=index.rows, problems=problems, **labels, **data.split.model_dump())
    write_atomic(paths.manifest(data.name), manifest.dump(made))
    for line in filter(None, (note, *warnings(made), summary(made, num_bad=len(bad), listed_in=bad_list))):
        say(f"ingest: {line}")


if __name__ == "__main__":
    run_stage("ingest", main)
