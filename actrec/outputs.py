"""What a model's outputs are called: a head's own name, or, where each modality has heads of its own, more than that.

`action` is what the joint representation says of the head `action`; `rgb/action` what the pictures alone say of it, and
`rgbpose_2:1/action` both, with twice the weight on the pictures.
"""

from collections.abc import Sequence


def stream_output(modality: str, head: str) -> str:
    """Return the name of what one modality says of a head."""
    return f"{modality}/{head}"


def fused_output(modalities: Sequence[str], ratio: Sequence[float], head: str) -> str:
    """Return the name of what several modalities, averaged in a ratio, say of a head."""
    return f"{''.join(modalities)}_{':'.join(f'{part:g}' for part in ratio)}/{head}"


def modality_of(output: str) -> str:
    """Return the modality, or the modalities and their ratio, that an output is of; "" if it is of the whole model."""
    return output.rpartition("/")[0]


def label_head(output: str) -> str:
    """Return the head whose labels and classes an output is judged by."""
    return output.rpartition("/")[2]


def output_and_metric(select_on: str) -> tuple[str, str]:
    """Return the output and the metric that `<output>.<metric>` names; an output's own name may have dots."""
    output, _, metric = select_on.rpartition(".")
    return output, metric


def file_name(output: str) -> str:
    """Return an output's name as a part of a file's: rgbpose_2-1_action."""
    return output.replace("/", "_").replace(":", "-")
