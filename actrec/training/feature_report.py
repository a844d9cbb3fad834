"""Of the features that are cached, how much says nothing: told when they are made, and kept with the metrics."""

from actrec.console import say
from actrec.metrics.features import FeatureHealth, feature_health
from actrec.training.data import Inputs
from actrec.training.pair_geometry import PairGeometry


def health_of(inputs: Inputs) -> dict[str, FeatureHealth]:
    """Return the health of each backbone's plain views of all clips; {} where nothing is cached.

    Geometry is left out: nobody sees anything to get it, and there a zero, or a number that is always the same, is
    what the boxes say.
    """
    features, ids = inputs.features, [clip.clip_id for clip in inputs.manifest.clips]
    if features is None:
        return {}
    seen = [m for m in features.modalities if not isinstance(inputs.folders[m], PairGeometry)]
    return {m: feature_health(features.plain(m, ids)[features.present(m, ids)]) for m in seen}


def say_health(inputs: Inputs) -> None:
    """Say in a line a backbone how its features are, and in another one what to look into."""
    for modality, health in health_of(inputs).items():
        say(
            f"features: {modality}: {health.zero_frac:.1%} of the values are 0, {health.dead_units} of {health.units} "
            "units never move"
        )
        if warning := health.warning(modality):
            say(warning)


def health_numbers(inputs: Inputs) -> dict[str, dict[str, dict[str, float | int]]]:
    """Return the part `features` of metrics.json, {"features": {modality: {number: value}}}; {} without any."""
    found = {modality: health.as_dict() for modality, health in health_of(inputs).items()}
    return {"features": found} if found else {}
