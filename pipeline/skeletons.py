"""Stage skeletons: the user's keypoints to one pickle in pyskl's layout, in killable workers, from the store."""

from pathlib import Path

from actrec import paths
from actrec.console import Debug, say
from actrec.data import quarantine
from actrec.data.manifest import Manifest, load_manifest
from actrec.errors import UserError
from actrec.params import Params, load
from actrec.store.files import write_atomic
from actrec.store.tree import write_stub_file
from pipeline.recorded import run_stage


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Write data/processed/<dataset>/skeletons.pkl, or the line {"enabled": false} in its place."""
    p = load(params)
    if p.skeletons.enabled:
        collect(p)
    else:
        write_stub_file(paths.skeletons(p.data.name))
        write_atomic(paths.quarantine(p.data.name, "skeletons"), quarantine.dump([]))


def collect(p: Params) -> None:
    """Write the skeletons of the manifest's clips; list those that have none, which stay clips if there is a video."""
    from actrec.store.skeletons import SkeletonSpec, gather

    source, name, bad_list = p.data.skeletons, p.data.name, paths.quarantine(p.data.name, "skeletons")
    assert source is not None, "the schema has seen to that"
    spec = SkeletonSpec(source.kind, source.layout, p.skeletons.max_persons)
    manifest = load_manifest(paths.manifest(name))
    root = Path(p.data.root).resolve()
    made = gather(paths.skeletons(name), manifest, spec, root=root, timeout_s=p.skeletons.timeout_s)
    write_atomic(bad_list, quarantine.dump(made.bad))
    say(f"skeletons: {made.news()}")
    # A clip that has no skeleton still has its pictures, unless it is nothing but a skeleton.
    is_all = p.data.media == "skeleton"
    judged, bad = (manifest, made.bad) if is_all else (Manifest((), ()), made.faults)
    total = len(manifest.clips) if is_all else made.num_clips + len(made.faults)
    quarantine.check_losses(judged, bad, max_bad_frac=p.data.max_bad_frac, total=total, listed_in=bad_list)
    if not made.num_clips:
        raise UserError(
            f"none of {len(manifest.clips)} clips has a skeleton: {bad_list}. Name them as the clips are named"
        )


if __name__ == "__main__":
    run_stage("skeletons", main)
