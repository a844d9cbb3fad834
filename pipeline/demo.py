"""Stage demo: the embedded synthetic data set, drawn from nothing."""

from pathlib import Path

from actrec.console import Debug, run, say
from actrec.demo.folder import write_stub
from actrec.params import load
from pipeline import paths


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Draw the synthetic clips to data/raw/demo/."""
    settings = load(params).demo
    if not settings.enabled:
        write_stub(paths.DEMO)
        return
    from actrec.demo.write import write_dataset

    clips = write_dataset(
        paths.DEMO,
        scene=settings.scene,
        subjects=settings.subjects,
        takes=settings.takes,
        clip_s=settings.clip_s,
        size_px=settings.size_px,
        seed=settings.seed,
    )
    say(
        f"demo: {clips} clips in {paths.DEMO}. They are SYNTHETIC, drawn by a program: results on them show that the "
        "pipeline works, not what a model is worth"
    )


if __name__ == "__main__":
    run(main)
