"""Where everything lies in a project's folder. What stages write stands in dvc.yaml too; a test compares them."""

from pathlib import Path

PARAMS = Path("params.yaml")
STAGES = Path("dvc.yaml")
LOCK = Path("dvc.lock")
RECIPES = Path("recipes")
SWEEPS = Path("sweeps")
CHECKED = Path("data/interim/checked.txt")
TRAINING = Path("data/interim/train.lock")  # held while a training is at work
DEMO = Path("data/raw/demo")
MODELS = Path("models")
BEST = MODELS / "best.pt"
LAST = MODELS / "last.pt"
RESULTS = Path("results")
HISTORY = RESULTS / "history.csv"
METRICS = RESULTS / "metrics.json"
SCORES = RESULTS / "scores.npz"
SWEPT = RESULTS / "sweeps"


def interim(dataset: str) -> Path:
    """Return the folder of a data set's tables: the manifest, and what each stage set aside."""
    return Path("data/interim") / dataset


def manifest(dataset: str) -> Path:
    """Return where `ingest` writes the manifest."""
    return interim(dataset) / "manifest.csv"


def quarantine(dataset: str, stage: str) -> Path:
    """Return where `stage` lists what it set aside."""
    return interim(dataset) / f"quarantine_{stage}.csv"


def frames(dataset: str) -> Path:
    """Return the folder of clip tensors."""
    return Path("data/processed") / dataset / "video_frames"


def mels(dataset: str) -> Path:
    """Return the folder of log-Mel spectrograms."""
    return Path("data/processed") / dataset / "mel_spectrograms"


def skeletons(dataset: str) -> Path:
    """Return the file of skeletons; where the recipe needs none it holds a line that says so."""
    return Path("data/processed") / dataset / "skeletons.pkl"


def sound(dataset: str) -> Path:
    """Return the list that says of every clip whether it has sound that can be used, and if not why."""
    return interim(dataset) / "sound.csv"


def features(dataset: str) -> Path:
    """Return the file of cached features; where the recipe caches none it holds a line that says so."""
    return Path("data/processed") / dataset / "features.h5"
