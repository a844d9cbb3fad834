"""Stage mels: sound to log-Mel spectrograms, one `.npy` a clip (or in shards), in killable workers, from the store."""

from dataclasses import asdict
from pathlib import Path

from actrec import paths
from actrec.console import Debug, say
from actrec.data import quarantine, sound_list
from actrec.data.manifest import Clip, Manifest, load_manifest
from actrec.params import Params, load
from actrec.store.cas import item_key
from actrec.store.closure import code_version
from actrec.store.files import write_atomic
from actrec.store.stage import build_folder, list_failed
from actrec.store.tree import Job, Maker, write_stub
from pipeline.recorded import run_stage


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Turn the sound of the manifest's clips into data/processed/<dataset>/mel_spectrograms/."""
    p = load(params)
    if p.mels.enabled:
        listen(p)
    else:
        write_stub(paths.mels(p.data.name))
        write_atomic(paths.quarantine(p.data.name, "mels"), quarantine.dump([]))
        write_atomic(paths.sound(p.data.name), sound_list.dump([]))


def listen(p: Params) -> None:
    """Make the spectrograms of the clips with sound; say of the others, which remain clips, why they have none."""
    from actrec.media.sound import HEAVY_IMPORTS, TOOLS, SoundSpec, SoundTask, make_mel_file, pack_mel_files

    m, name, bad_list = p.mels, p.data.name, paths.quarantine(p.data.name, "mels")
    spec = SoundSpec(**m.model_dump(exclude={"enabled", "timeout_s"}))
    root, version = Path(p.data.root).resolve(), code_version("actrec.media.sound", *TOOLS)

    def job(clip: Clip) -> Job:
        settings = {**asdict(spec), "start_s": clip.start_s, "end_s": clip.end_s}
        task = SoundTask(root / clip.sound_path, clip.sound_sha256, spec, clip.start_s, clip.end_s)
        return Job(clip.clip_id, item_key(version, settings, clip.sound_sha256), task)

    manifest = load_manifest(paths.manifest(name))
    jobs = [job(clip) for clip in manifest.clips if clip.sound_path]
    without = {clip.clip_id: clip.sound_fault or sound_list.NO_TRACK for clip in manifest.clips if not clip.sound_path}
    maker = Maker("mels", ".npy", make_mel_file, pack_mel_files, version, m.timeout_s, HEAVY_IMPORTS, sound_list.SILENT)
    built = build_folder(paths.mels(name), jobs, maker, about={"spec": asdict(spec)}, absent=without)
    silence = "no sample is above -100 dBFS" if p.data.media == "sound" else ""  # others still have their pictures
    paths_of = {clip.clip_id: clip.sound_path for clip in manifest.clips}
    bad = list_failed(built, "mels", path_of=paths_of, to=bad_list, why_empty=silence)
    flags = sound_list.statuses(manifest, built.absent, bad)
    write_atomic(paths.sound(name), sound_list.dump(flags))
    say(f"mels: {len(jobs) - len(bad)} sound tracks, {built.news()}, {sound_list.tally(flags)}")
    judged = manifest if silence else Manifest((), ())
    quarantine.check_losses(judged, bad, max_bad_frac=p.data.max_bad_frac, total=len(jobs), listed_in=bad_list)
    sound_list.check_any(flags, listed_in=paths.sound(name))


if __name__ == "__main__":
    run_stage("mels", main)
