"""Where a VideoMAE looks: attention roll-out."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from actrec.models.videomae import VideoMae

# Shares that differ by less than this part of their mean are the same.
_EVEN_FRAC = 1e-3


def attention_heat(backbone: VideoMae, clips: torch.Tensor) -> torch.Tensor:
    """Return how much each tubelet of a clip goes into its tokens, float32 (B, T', H', W') in [0, 1].

    Each clip is stretched over [0, 1] by itself, and its frames together: colours of one clip's frames compare, those
    of two clips do not.

    Args:
        backbone: In evaluation mode.
        clips: uint8 (B, T, S, S, 3), on the backbone's device.
    """
    # One by one: at the base size the attentions of a clip take 1.4 GB.
    flows = torch.cat([rollout(backbone.attentions(clip.unsqueeze(0))) for clip in clips])
    return _stretched(flows.view(len(clips), *backbone.grid))


def rollout(attentions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the share (B, N) that each input token has in the mean of the output tokens; sums to 1.

    A layer passes on half of a token as it is, past the attention, and half as its attention mixes it: the mean over
    heads. The layers' matrices are multiplied. There is no class token whose row could be read, so this is the mean of
    the product's rows, as the tokens' mean is what is classified.

    Args:
        attentions: (B, heads, N, N) of each layer, the first layer first; rows are queries and sum to 1.

    Source: Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020, section 3.
    """
    batch, _, _, num_tokens = attentions[0].shape
    # The mean row times a matrix at a time, from the last layer down: the product of whole matrices is never needed.
    flow = attentions[0].new_full((batch, 1, num_tokens), 1 / num_tokens, dtype=torch.float32)
    for attention in reversed(attentions):
        mixed = (attention.float().mean(dim=1) + torch.eye(num_tokens, device=attention.device)) / 2
        flow = flow @ (mixed / mixed.sum(dim=-1, keepdim=True))
    return flow.squeeze(1)


def on_frames(heat: torch.Tensor, *, clip_frames: int, size_px: int) -> torch.Tensor:
    """Return heat (B, T', H', W') for each pixel of each frame, (B, clip_frames, size_px, size_px), interpolated."""
    size = (clip_frames, size_px, size_px)
    return functional.interpolate(heat.unsqueeze(1), size, mode="trilinear", align_corners=False).squeeze(1)


def _stretched(shares: torch.Tensor) -> torch.Tensor:
    low, high = shares.amin(dim=(1, 2, 3), keepdim=True), shares.amax(dim=(1, 2, 3), keepdim=True)
    # A clip looked at evenly has no hot place: its rounding errors are not to be stretched.
    least = _EVEN_FRAC * shares.mean(dim=(1, 2, 3), keepdim=True)
    return (shares - low) / (high - low).maximum(least)
