"""How well fine classes, and the coarse ones that they are kinds of, are told: in one number."""

from collections.abc import Mapping
from statistics import mean


def f1_mean(fine: Mapping[str, float | int], coarse: Mapping[str, float | int]) -> float:
    """Return the mean of four: macro and micro F1 of the fine classes, and of the coarse ones.

    Where a clip has one class, micro F1 is top1. Macro F1 is `f1_macro`, over the classes that have a true clip;
    scikit-learn's counts those that are only said as well, as 0. In MA-52 every class has true clips.

    Args:
        fine: What `classification.summarise` says of them.
        coarse: The same of the others.

    Source: Guo et al., Benchmarking Micro-Action Recognition, 2024: F1_mean of MA-52.
    """
    return mean([fine["f1_macro"], fine["top1"], coarse["f1_macro"], coarse["top1"]])
