"""VideoMAE: a vision transformer over tubelets of a clip."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actrec.errors import UserError
from actrec.models.backbone import IMAGENET_MEAN, IMAGENET_STD, RgbBackbone
from actrec.models.hub import CONFIG, PREPROCESSOR, hub_folder, weights_file
from actrec.models.weights import Tensors, checked_digest, fill, read_tensors, sha256_of

# What of a configuration decides on the encoder's parameters and numbers.
_ARCHITECTURE = (
    "image_size",
    "patch_size",
    "num_channels",
    "num_frames",
    "tubelet_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "layer_norm_eps",
    "qv_bias",
    "use_mean_pooling",
)
# Parameters of the classifier, and of the decoder of pre-training.
_NOT_OF_THE_ENCODER = ("fc_norm.", "classifier.", "decoder.", "encoder_to_decoder.", "mask_token")
# Published files name these two biases by themselves, not as parts of their layers.
_PUBLISHED_BIASES = {".q_bias": ".query.bias", ".v_bias": ".value.bias"}


class VideoMae(RgbBackbone):
    """A token a tubelet, in the order time, height, width: N = T/tubelet * (S/patch)^2; D is the checkpoint's.

    The base size has 8 * 14 * 14 = 1568 tokens of 768 for 16 frames of 224 pixels. Its tokens are the last hidden
    state as transformers' VideoMAEModel gives it. Checkpoints fine-tuned for classification have no norm there
    (`use_mean_pooling`): they average the tokens and normalise the mean (`fc_norm`), which belongs to the classifier
    and is dropped with it. Those of pre-training alone normalise each token, and so do ours then.

    Args:
        weights: {kind: hub, id, revision}; {kind: folder, path, sha256}, the digest being that of the file with the
            weights; {kind: none, width, layers, attention_heads, patch_px, tubelet_frames} for random ones; or the
            `bare_weights` of another.
        clip_frames: T.
        input_px: S.
        token_grid: Average the tokens to so many in time, height and width; None keeps all.

    Raises:
        UserError: if the weights cannot be had or are not VideoMAE's, or the clips or the grid do not fit them.

    Source: Tong et al., VideoMAE, NeurIPS 2022, section 3.
    """

    def __init__(
        self, *, weights: dict[str, Any], clip_frames: int, input_px: int, token_grid: list[int] | None
    ) -> None:
        from transformers import VideoMAEModel

        source = _find(weights, clip_frames=clip_frames, input_px=input_px)
        config = source.config
        _refuse_other_clips(config, clip_frames, input_px)
        super().__init__(mean=source.mean, std=source.std, width=config.hidden_size)
        side = input_px // config.patch_size
        self.grid = (clip_frames // config.tubelet_size, side, side)
        self.token_grid = _fitting(token_grid, self.grid)
        # Any: transformers wraps forward in decorators that hide its type.
        self.network: Any = VideoMAEModel(config)
        self.network.set_attn_implementation("sdpa")
        self.weights_sha256 = source.sha256
        if source.file:
            tensors = _as_parameters(read_tensors(source.file))
            fill(self.network, tensors, drop=_NOT_OF_THE_ENCODER, source=source.file)
            _refuse_lost_biases(self.network, source)
        architecture = {name: getattr(config, name) for name in _ARCHITECTURE}
        self.bare_weights = {
            "kind": "config",
            "config": architecture,
            "mean": list(source.mean),
            "std": list(source.std),
        }

    @property
    def cam_layer(self) -> nn.Module:
        """The last layer of the encoder: its tokens' mean is what is classified."""
        return self.network.encoder.layer[-1]

    def cam_maps(self, seen: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of all tubelets as maps (B, D, T', H', W')."""
        return seen.transpose(1, 2).unflatten(2, self.grid)

    def tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of scaled clips (B, 3, T, S, S)."""
        found = self.network(clips.transpose(1, 2)).last_hidden_state
        return found if self.token_grid == self.grid else self._averaged(found)

    @torch.no_grad()
    def attentions(self, clips: torch.Tensor) -> list[torch.Tensor]:
        """Return a layer's attention (B, heads, N, N) for each layer, of uint8 clips (B, T, S, S, 3).

        Rows are queries and sum to 1; N is that of `grid`, before `token_grid`. The base size takes 1.4 GB a clip.
        """
        # The fused kernels never have these matrices in memory.
        self.network.set_attn_implementation("eager")
        try:
            frames = self.to_model_layout(clips).transpose(1, 2)
            return list(self.network(frames, output_attentions=True).attentions)
        finally:
            self.network.set_attn_implementation("sdpa")

    def _averaged(self, tokens: torch.Tensor) -> torch.Tensor:
        split = [n for have, want in zip(self.grid, self.token_grid, strict=True) for n in (want, have // want)]
        cells = tokens.view(len(tokens), *split, self.width)
        return cells.mean(dim=(2, 4, 6)).flatten(1, 3)


@dataclass(frozen=True, slots=True)
class _Source:
    """An architecture and how its pixels are scaled; and its weights, if any, with the version that wrote them."""

    config: Any
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    file: Path | None = None
    sha256: str = ""
    written_by: str = ""


def _find(weights: dict[str, Any], *, clip_frames: int, input_px: int) -> _Source:
    from transformers import VideoMAEConfig

    match weights:
        case {"kind": "hub", "id": model_id, "revision": revision}:
            folder = hub_folder(model_id, revision)
            return _published(folder, sha256=sha256_of(weights_file(folder)))
        case {"kind": "folder", "path": path, "sha256": expected}:
            return _published(Path(path), sha256=checked_digest(weights_file(Path(path)), expected))
        case {"kind": "config", "config": config, "mean": mean, "std": std}:
            return _Source(VideoMAEConfig(**config), tuple(mean), tuple(std))
        case {"kind": "none", **size}:
            return _Source(_random(**size, clip_frames=clip_frames, input_px=input_px))
        case _:
            raise ValueError(f"unknown weights {weights}")


def _random(
    *,
    width: int,
    layers: int,
    attention_heads: int,
    patch_px: int,
    tubelet_frames: int,
    clip_frames: int,
    input_px: int,
) -> Any:
    from transformers import VideoMAEConfig

    if width % attention_heads:
        raise UserError(
            f"model.backbones.rgb.weights: width {width} is not a multiple of attention_heads {attention_heads}. "
            f"Set width: {width // attention_heads * attention_heads or attention_heads}"
        )
    return VideoMAEConfig(
        image_size=input_px,
        num_frames=clip_frames,
        patch_size=patch_px,
        tubelet_size=tubelet_frames,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=attention_heads,
    )


def _published(folder: Path, *, sha256: str) -> _Source:
    from transformers import VideoMAEConfig

    described = _json(folder / CONFIG)
    if described.get("model_type") != "videomae":
        raise UserError(
            f"{folder / CONFIG}: model_type is {described.get('model_type')!r}, expected 'videomae'. "
            "Set model.backbones.rgb.weights to a VideoMAE checkpoint"
        )
    try:
        config = VideoMAEConfig.from_dict(described)
    except Exception as error:
        raise UserError(
            f"{folder / CONFIG}: not a VideoMAE configuration ({' '.join(str(error).split())[:200]})"
        ) from None
    mean, std = _scaling(folder / PREPROCESSOR)
    version = str(described.get("transformers_version", "unknown"))
    return _Source(config, mean, std, weights_file(folder), sha256, version)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _scaling(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of each channel, for pixels in [0, 1]."""
    stated = _json(path)
    mean, std = stated.get("image_mean"), stated.get("image_std")
    is_usual = stated.get("do_rescale", True) and stated.get("do_normalize", True)
    is_usual = is_usual and abs(255 * stated.get("rescale_factor", 1 / 255) - 1) < 1e-6
    if not (is_usual and isinstance(mean, list) and isinstance(std, list) and len(mean) == len(std) == 3):
        raise UserError(
            f"{path}: pixels are scaled in a way that actrec does not know. Expected image_mean and image_std of three "
            "channels, do_rescale by 1/255 and do_normalize"
        )
    return tuple(map(float, mean)), tuple(map(float, std))


def _refuse_other_clips(config: Any, clip_frames: int, input_px: int) -> None:
    if (clip_frames, input_px) != (config.num_frames, config.image_size):
        raise UserError(
            f"model.backbones.rgb: this VideoMAE takes {config.num_frames} frames of {config.image_size} px, got "
            f"{clip_frames} of {input_px}. Set frames.clip_frames: {config.num_frames} and "
            f"model.backbones.rgb.input_px: {config.image_size}"
        )
    if clip_frames % config.tubelet_size or input_px % config.patch_size:
        raise UserError(
            f"model.backbones.rgb: tubelets of {config.tubelet_size} frames and {config.patch_size} px do not fill a "
            f"clip of {clip_frames} frames of {input_px} px. Set frames.clip_frames and model.backbones.rgb.input_px "
            "to multiples of them"
        )


def _fitting(token_grid: list[int] | None, grid: tuple[int, int, int]) -> tuple[int, int, int]:
    if token_grid is None:
        return grid
    if len(token_grid) != 3 or any(have % want for have, want in zip(grid, token_grid, strict=True)):
        time, side = (", ".join(str(n) for n in range(1, size + 1) if size % n == 0) for size in grid[:2])
        raise UserError(
            f"model.backbones.rgb.token_grid {token_grid} does not divide the {grid[0]} x {grid[1]} x {grid[2]} tokens "
            f"of a clip (time, height, width). Possible are {time} in time and {side} in height and in width"
        )
    return (token_grid[0], token_grid[1], token_grid[2])


def _as_parameters(tensors: Tensors) -> Tensors:
    """Return the tensors of a published file under the names that VideoMAEModel has for them."""
    found = {}
    for name, value in tensors.items():
        name = name.removeprefix("videomae.")
        for published, own in _PUBLISHED_BIASES.items():
            if name.endswith(published):
                name = name.removesuffix(published) + own
        found[name] = value
    return found


def _refuse_lost_biases(network: Any, source: _Source) -> None:
    """Refuse what older transformers make of a published checkpoint, read and saved again: biases of zero.

    Source: huggingface/transformers, pull request 48675, merged 2026-09-10.
    """
    from transformers import __version__

    if not source.config.qv_bias:
        return
    for number, layer in enumerate(network.encoder.layer):
        for name in ("query", "value"):
            if not getattr(layer.attention.attention, name).bias.any():
                raise UserError(
                    f"{source.file}: the {name} biases of layer {number} are all zero. Versions of transformers before "
                    f"2026-09-10 lose them: {source.written_by} wrote this folder, {__version__} is installed. Take "
                    "the files as they were published, and install what requirements.lock has"
                )
