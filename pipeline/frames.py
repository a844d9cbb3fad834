"""Stage frames: videos and images to uint8 tensors, one `.pt` a clip (or in shards), in killable workers."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from actrec import paths
from actrec.console import Debug, say
from actrec.data import quarantine
from actrec.data.manifest import load_manifest
from actrec.params import Params, load
from actrec.store.closure import code_version
from actrec.store.files import write_atomic
from actrec.store.stage import build_folder, list_failed
from actrec.store.tree import Maker, write_stub
from pipeline.recorded import run_stage


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
    from actrec.media.clip import HEAVY_IMPORTS, ClipSpec, make_clip_file, pack_clip_files
    from actrec.media.crops import make_crop_file
    from actrec.pose.folder import PoseFolder
    from actrec.store.frames import clip_jobs, crop_jobs, lost_clips

    f, out, bad_list = p.frames, paths.frames(p.data.name), paths.quarantine(p.data.name, "frames")
    stride = f.sampling.frame_stride if f.sampling.kind == "stride" else None
    pad_frac = f.pad_frac if f.region == "boxes" else 0.0
    spec = ClipSpec(f.clip_frames, f.clips_per_video, stride, f.size_px, f.resize, f.region, pad_frac)
    manifest = load_manifest(paths.manifest(p.data.name))
    about: dict[str, Any] = {"spec": asdict(spec)}
    where: dict[str, Any] = {"root": Path(p.data.root).resolve(), "spec": spec}
    make, module = (make_crop_file, "crops") if f.region == "boxes" else (make_clip_file, "clip")
    version = code_version(f"actrec.media.{module}", *HEAVY_IMPORTS)
    if f.region == "boxes":
        jobs, about["pairs"] = crop_jobs(manifest.clips, **where, version=version)
    else:
        region_of = PoseFolder(paths.skeletons(p.data.name)).region if f.region == "persons" else lambda clip_id: None
        jobs = clip_jobs(manifest.clips, **where, version=version, region_of=region_of)
    maker = Maker("frames", ".pt", make, pack_clip_files, version, f.timeout_s, HEAVY_IMPORTS)
    built = lost_clips(build_folder(out, jobs, maker, about=about), about.get("pairs"))
    bad = list_failed(built, "frames", path_of={clip.clip_id: clip.path for clip in manifest.clips}, to=bad_list)
    pictures = f" of {len(jobs)} pictures" if f.region == "boxes" else ""
    say(f"frames: {len(manifest.clips) - len(bad)} clips{pictures}, {built.news()}, {len(bad)} set aside")
    limits = {"max_bad_frac": p.data.max_bad_frac, "total": len(manifest.clips), "listed_in": bad_list}
    quarantine.check_losses(manifest, bad, **limits)


if __name__ == "__main__":
    run_stage("frames", main)
