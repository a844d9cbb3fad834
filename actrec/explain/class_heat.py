"""What of a clip's pictures speaks for a class: Grad-CAM, by the grad-cam library."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from actrec.models.backbone import Backbone, JointBackbone
from actrec.models.recogniser import Recogniser


def class_heat(model: Recogniser, batch: Mapping[str, Any], *, output: str, classes: Sequence[int]) -> torch.Tensor:
    """Return how much each place of a clip speaks for some classes, float32 (k, T', H', W') in [0, 1], on the CPU.

    Each channel of the maps of the backbone's `cam_layer` counts as much as the class's logit grows with its mean; what
    speaks against the class is 0. Of each class the heat is stretched over [0, 1] by itself, and all frames together:
    colours of a clip's frames compare, those of two classes or clips do not. Frozen or not, the model stays as it was.

    Args:
        model: With pictures, whose backbone has a `cam_layer`; in evaluation mode.
        batch: One clip: (1, …) of each modality, and `present` {modality: bool (1,)}; on the model's device.
        output: One of the model's outputs that the pictures have a part in.
        classes: k class numbers of it.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, section 3.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class InMaps(GradCAM):
        def get_target_width_height(self, input_tensor: torch.Tensor) -> Any:
            # Not enlarged: the library's splines over three dimensions take pixels for points, and overshoot.
            return None

    backbone = picture_backbone(model)
    layer = backbone and backbone.cam_layer
    if backbone is None or layer is None:
        raise ValueError("no backbone with a cam_layer")
    shown = _repeated(batch, len(classes))
    targets: Any = [ClassifierOutputTarget(number) for number in classes]
    with _gradients_from(layer, model):
        cam = InMaps(_Answer(model, output, shown), [layer], reshape_transform=backbone.cam_maps)
        try:
            return torch.from_numpy(cam(shown["rgb"], targets))
        finally:
            cam.activations_and_grads.release()


def picture_backbone(model: Recogniser) -> Backbone | None:
    """Return the backbone of the pictures, also inside a joint one; None of a model that sees none."""
    for name, part in model.backbones.items():
        own: Any = part.parts if isinstance(part, JointBackbone) else {name: part}
        if "rgb" in own:
            return own["rgb"]
    return None


def _repeated(batch: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return a batch of one clip as one of so many times that clip."""
    return {
        name: _repeated(value, count) if isinstance(value, Mapping) else value[[0] * count]
        for name, value in batch.items()
    }


class _Answer(nn.Module):
    """Pictures to the logits (B, classes) of one output, the rest of the batch being as it is."""

    def __init__(self, model: Recogniser, output: str, batch: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self._output, self._batch = model, output, batch

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.model({**self._batch, "rgb": pictures})[self._output]


@contextmanager
def _gradients_from(layer: nn.Module, model: Recogniser) -> Iterator[None]:
    """Compute gradients of what a layer returns, and of nothing before it nor of any parameter."""
    frozen, learns = model.frozen, {name: p.requires_grad for name, p in model.named_parameters()}
    model.freeze()  # what is frozen computes without gradients
    model.requires_grad_(False)
    handle = layer.register_forward_hook(lambda _, inputs, output: output.requires_grad_())
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        handle.remove()
        model.freeze(*frozen)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(learns[name])
