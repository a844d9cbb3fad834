"""Stage frames: videos to uint8 tensors, one `.pt` a clip (or in shards), in killable workers and through the store."""

from dataclasses import asdict
from pathlib import Path

from actrec.console import Debug, run, say
from actrec.data import quarantine
from actrec.data.manifest import Clip, load_manifest
from actrec.params import Params, load
from actrec.store.cas import item_key
from actrec.store.closure import code_version
from actrec.store.files import write_atomic
from actrec.store.stage import build_folder, list_failed
from actrec.store.tree import Job, Maker, write_stub
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Decode the clips of the manifest to data/processed/<dataset>/video_frames/."""
    p = load(params)
    if p.frames.enabled:
        decode(p)
    else:
        write_stub(paths.frames(p.data.name))
        write_atomic(paths.quarantine(p.data.name, "frames"), quarantine.dump([]))


def decode(p: Params) -> None:
    """Make the tensors of all clips, keyed by bytes, part, spec, decoder and code; list the clips that have none."""
    from actrec.media.clip import HEAVY_IMPORTS, ClipSpec, ClipTask, make_clip_file, pack_clip_files
    from actrec.media.decode import decoder_of
    from actrec.pose.folder import PoseFolder

    f, out, bad_list = p.frames, paths.frames(p.data.name), paths.quarantine(p.data.name, "frames")
    stride = f.sampling.frame_stride if f.sampling.kind == "stride" else None
    spec = ClipSpec(f.clip_frames, f.clips_per_video, stride, f.size_px, f.resize, f.region)
    region_of = PoseFolder(paths.skeletons(p.data.name)).region if f.region == "persons" else lambda clip_id: None
    root, version = Path(p.data.root).resolve(), code_version("actrec.media.clip", *HEAVY_IMPORTS)

    def job(clip: Clip) -> Job:
        part = {"start_s": clip.start_s, "end_s": clip.end_s, "region": region_of(clip.clip_id)}
        settings = {**asdict(spec), **part, "decoder": decoder_of(clip.facts)}
        task = ClipTask(root / clip.path, clip.sha256, clip.facts, spec, **part)
        return Job(clip.clip_id, item_key(version, settings, clip.sha256), task)

    manifest = load_manifest(paths.manifest(p.data.name))
    jobs = [job(clip) for clip in manifest.clips]
    maker = Maker("frames", ".pt", make_clip_file, pack_clip_files, version, f.timeout_s, HEAVY_IMPORTS)
    built = build_folder(out, jobs, maker, about={"spec": asdict(spec)})
    bad = list_failed(built, "frames", path_of={clip.clip_id: clip.path for clip in manifest.clips}, to=bad_list)
    say(f"frames: {len(jobs) - len(bad)} clips, {built.news()}, {len(bad)} set aside")
    quarantine.check_losses(manifest, bad, max_bad_frac=p.data.max_bad_frac, total=len(jobs), listed_in=bad_list)


if __name__ == "__main__":
    run(main)
