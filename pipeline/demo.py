"""Stage demo: the embedded synthetic data set, drawn from nothing."""

from pathlib import Path

from actrec import paths
from actrec.console import Debug, say
from actrec.demo.folder import write_stub
from actrec.params import load
from pipeline.recorded import run_stage


def main(params: Path = paths.PARAMS, debug: Debug = False) -> None:
    """Draw the synthetic clips or pictures to data/raw/demo/."""
    settings = load(params).demo
    if not settings.enabled:
        write_stub(paths.DEMO)
        return
    size = {"subjects": settings.subjects, "takes": settings.takes, "size_px": settings.size_px, "seed": settings.seed}
    match settings.scene:
        case "stills":
            from actrec.demo.stills import write_stills

            made = f"{write_stills(paths.DEMO, **size)} pictures"
        case "pairs":
            from actrec.demo.pairs import write_pairs

            pictures, pairs = write_pairs(paths.DEMO, **size)
            made = f"{pictures} pictures with {pairs} pairs"
        case _:
            from actrec.demo.write import write_dataset

            made = f"{write_dataset(paths.DEMO, scene=settings.scene, clip_s=settings.clip_s, **size)} clips"
    say(
        f"demo: {made} in {paths.DEMO}. They are SYNTHETIC, drawn by a program: results on them show that the "
        "pipeline works, not what a model is worth"
    )


if __name__ == "__main__":
    run_stage("demo", main)
