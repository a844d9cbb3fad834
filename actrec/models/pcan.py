"""PCAN: prototypes of classes, which calibrate the clips that heads mistake and correct what the heads predict."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional

# As in actrec.training.labels, which models may not import: this clip has no label.
NO_LABEL = -1
# A vector that is shorter has no direction.
_SHORTEST = 1e-12


class Pcan(nn.Module):
    """What is added to heads that tell, a stream each, a fine class and the coarse class that it belongs to.

    A stream is embedded as Linear(maximum over its tokens); a class's prototype is a moving average of the embeddings
    of its true positives. In training, prototypes and the embeddings of mistaken clips draw and push clips
    (`calibration_loss`), prototypes keep apart (`diversity_loss`), and fine and coarse logits agree (`tree_loss`). In
    prediction, `rectify` adds to the fine logits how alike a clip and the prototypes are.

    A class that has had no true positive yet has no prototype: its row is 0 and so is each cosine with it. The
    published code starts from random ones, whose cosines are 0 on average.

    Differs from the published code where that is mistaken: coarse prototypes are saved too; diversity has a gradient,
    through what this batch adds to the prototypes (there it is lost); `rectify` embeds the maximum over tokens, as
    training does, not their mean, which the Linear has never seen; prototypes are those of all processes.

    Args:
        widths: D of each stream's tokens.
        parents: The coarse class of each fine class.
        num_coarse: Coarse classes.
        calibration: Whether clips are calibrated, at the fine and the coarse level.
        calibration_weight: Of either level's loss. Published: 0.2.
        false_negative_factors: Of the fine scores against the clips of a class whose fine prediction is wrong, whose
            coarse one is, and with both wrong. Published: 1, 0.1, 0.5.
        diversity: Whether fine prototypes are kept apart.
        diversity_weight: Published: 0.2.
        tree: Whether the tree loss is added.
        tree_weight: Published: 1.
        rectification: Whether `rectify` does anything.
        rectification_weights: Of the cosines, for each stream. Published: rgb 5, pose 1.
        fine_width: Of embeddings at the fine level. Published: 256.
        coarse_width: Of those at the coarse level. Published: 128.
        momentum: What a prototype keeps when its class has true positives. Published: 0.9.
        temperature: Of cosine scores. Published: 0.125.
        doubt_scale: alpha of `calibration_loss`. Published: 0.125.

    Raises:
        ValueError: if a parent is no coarse class, or a stream has no rectification weight.

    Source: Li et al., Prototypical Calibrating Ambiguous Samples for Micro-Action Recognition, AAAI 2025, and its code
    (kunli-cs/PCAN); calibration from Zhou et al., Learning Discriminative Representations for Skeleton Based Action
    Recognition (FR-Head), CVPR 2023.
    """

    parents: torch.Tensor

    def __init__(
        self,
        *,
        widths: Mapping[str, int],
        parents: Sequence[int],
        num_coarse: int,
        calibration: bool,
        calibration_weight: float,
        false_negative_factors: Sequence[float],
        diversity: bool,
        diversity_weight: float,
        tree: bool,
        tree_weight: float,
        rectification: bool,
        rectification_weights: Mapping[str, float],
        fine_width: int,
        coarse_width: int,
        momentum: float,
        temperature: float,
        doubt_scale: float,
    ) -> None:
        super().__init__()
        if wrong := sorted({parent for parent in parents if not 0 <= parent < num_coarse}):
            raise ValueError(f"parents are coarse classes from 0 to {num_coarse - 1}, got {wrong}")
        if rectification and (missing := [stream for stream in widths if stream not in rectification_weights]):
            raise ValueError(f"rectification_weights has no weight for {', '.join(missing)}")
        self.calibration, self.calibration_weight = calibration, calibration_weight
        self.diversity, self.diversity_weight = diversity, diversity_weight
        self.tree, self.tree_weight = tree, tree_weight
        self.rectification, self.rectification_weights = rectification, dict(rectification_weights)
        self._scale = {"temperature": temperature, "doubt_scale": doubt_scale}
        self._fine_factors = (*false_negative_factors, 1.0)
        self.register_buffer("parents", torch.tensor(parents, dtype=torch.int64), persistent=False)
        fine = widths if calibration or diversity or rectification else {}
        self.fine = nn.ModuleDict({s: _Prototypes(w, fine_width, len(parents), momentum) for s, w in fine.items()})
        coarse = widths if calibration else {}
        self.coarse = nn.ModuleDict({s: _Prototypes(w, coarse_width, num_coarse, momentum) for s, w in coarse.items()})
        # Rectification alone compares in a random projection: nothing there learns.
        self.fine.requires_grad_(calibration or diversity)

    def penalties(
        self,
        stream: str,
        tokens: torch.Tensor,
        fine_logits: torch.Tensor,
        coarse_logits: torch.Tensor,
        fine_labels: torch.Tensor,
        coarse_labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return what a stream adds to the loss, weighted: `<stream>/calibration_fine`, `/calibration_coarse`, …

        Each is a mean over this process's labelled clips, as the heads' cross entropies are, and 0 without any. In
        training mode the prototypes move on, and with several processes each must call this at each step, for the same
        streams in the same order: what is said of classes is of the clips of all. In evaluation mode prototypes stay,
        and no other process is asked.

        Args:
            stream: One of `widths`.
            tokens: (B, N, D), averages over time. Of clips without a label, what stands there is not looked at.
            fine_logits: (B, fine classes).
            coarse_logits: (B, coarse classes).
            fine_labels: int64 (B,), NO_LABEL where a clip has none, or not this stream.
            coarse_labels: Likewise. Where there is a fine label too, it is the parent of that.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            fine = _of_labelled(fine_labels, tokens, fine_logits, coarse_logits)
            parts = self._fine_parts(stream, *fine)
            if self.calibration:
                parts["calibration_coarse"] = self._coarse_part(
                    stream, *_of_labelled(coarse_labels, tokens, coarse_logits)
                )
        return {f"{stream}/{name}": part for name, part in parts.items()}

    def rectify(self, stream: str, tokens: torch.Tensor, fine_logits: torch.Tensor) -> torch.Tensor:
        """Return fine logits (B, fine classes) plus weight * cosine(embedding, prototype); as they are if it is off."""
        if not self.rectification:
            return fine_logits
        with torch.autocast(tokens.device.type, enabled=False):
            level: Any = self.fine[stream]
            return fine_logits + self.rectification_weights[stream] * cosines(level.embed(tokens), level.prototypes)

    def _fine_parts(
        self,
        stream: str,
        labels: torch.Tensor,
        tokens: torch.Tensor,
        fine_logits: torch.Tensor,
        coarse_logits: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        parts = {}
        if stream in self.fine:
            level: Any = self.fine[stream]
            embeddings = level.embed(tokens)
            coarse_right = coarse_logits.argmax(dim=1) == self.parents[labels]
            groups = fine_groups(fine_logits, labels, coarse_right).to(embeddings.dtype)
            prototypes, wrong, found = level.collect(embeddings, groups)
            if self.calibration:
                probs = fine_logits.to(embeddings.dtype).softmax(dim=1)
                parts["calibration_fine"] = self.calibration_weight * calibration_loss(
                    embeddings, probs, labels, prototypes, wrong, found, factors=self._fine_factors, **self._scale
                )
            if self.diversity:
                parts["diversity"] = self.diversity_weight * diversity_loss(prototypes)
        if self.tree:
            parts["tree"] = self.tree_weight * tree_loss(
                fine_logits.float(), coarse_logits.float(), labels, self.parents
            )
        return parts

    def _coarse_part(
        self, stream: str, labels: torch.Tensor, tokens: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        level: Any = self.coarse[stream]
        embeddings = level.embed(tokens)
        prototypes, wrong, found = level.collect(embeddings, coarse_groups(logits, labels).to(embeddings.dtype))
        probs = logits.to(embeddings.dtype).softmax(dim=1)
        return self.calibration_weight * calibration_loss(
            embeddings, probs, labels, prototypes, wrong, found, factors=(1.0, 1.0), **self._scale
        )


class _Prototypes(nn.Module):
    """One for each of K classes, in the space (C,) that the maximum over tokens (B, N, D) is projected to."""

    prototypes: torch.Tensor

    def __init__(self, width: int, embedding_width: int, num_classes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.projection = nn.Linear(width, embedding_width)
        self.register_buffer("prototypes", torch.zeros(num_classes, embedding_width))

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return (B, C)."""
        return self.projection(tokens.to(self.projection.weight.dtype).amax(dim=1))

    def collect(
        self, embeddings: torch.Tensor, groups: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return prototypes (K, C), the sums (G, K, C) of the other groups' embeddings, and which of these have clips.

        In training mode the prototypes have moved on, and a gradient leads from them to the embeddings.

        Args:
            embeddings: (n, C).
            groups: 0 or 1 (1 + G, n, K): whether a clip counts for a class; the first group is the true positives.
        """
        ones = torch.ones_like(embeddings[:, :1])
        sums = groups.mT @ torch.cat([embeddings, ones], dim=1)
        sums = _over_processes(sums) if self.training else sums
        vectors, counts = sums[..., :-1], sums[..., -1:].detach()
        prototypes = self._moved(vectors[0], counts[0]) if self.training else self.prototypes
        return prototypes, vectors[1:], counts[1:, :, 0] > 0

    def _moved(self, sums: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        moved = self.momentum * self.prototypes + (1 - self.momentum) * sums / counts.clamp(min=1)
        prototypes = torch.where(counts > 0, moved, self.prototypes)
        # In place: DDP and optimizers hold on to the tensor itself.
        self.prototypes.copy_(prototypes.detach())
        return prototypes


def fine_groups(fine_logits: torch.Tensor, labels: torch.Tensor, coarse_right: torch.Tensor) -> torch.Tensor:
    """Return bool (5, n, K): for which class each clip is what.

    A true positive has both predictions right. False negatives of the true class: fine wrong and coarse right; fine
    right and coarse wrong; both wrong. A false positive of the predicted class: fine wrong.

    Args:
        fine_logits: (n, K).
        labels: int64 (n,).
        coarse_right: bool (n,): whether the coarse prediction is the true class's parent.
    """
    true, said = _one_hot(labels, fine_logits), _one_hot(fine_logits.argmax(dim=1), fine_logits)
    right, coarse_right = (true & said).any(dim=1, keepdim=True), coarse_right.unsqueeze(1)
    missed = [true & ~right & coarse_right, true & right & ~coarse_right, true & ~right & ~coarse_right]
    return torch.stack([true & right & coarse_right, *missed, said & ~right])


def coarse_groups(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return bool (3, n, K): true positives, false negatives of the true class, false positives of the predicted."""
    true, said = _one_hot(labels, logits), _one_hot(logits.argmax(dim=1), logits)
    return torch.stack([true & said, true & ~said, said & ~true])


def calibration_loss(
    embeddings: torch.Tensor,
    probs: torch.Tensor,
    labels: torch.Tensor,
    prototypes: torch.Tensor,
    wrong: torch.Tensor,
    found: torch.Tensor,
    *,
    factors: Sequence[float],
    temperature: float,
    doubt_scale: float,
) -> torch.Tensor:
    """Return the mean over clips of the sum over groups g of cross_entropy(scores_g, label); 0 without clips.

    With doubt = doubt_scale * (1 - probability of the true class), the score of a clip for a class k is
    factor_g / temperature * (cos(clip, prototype_k) + push), where push is, for the true class alone,
    doubt * (cos(clip, wrong_gk) - 1) for false negatives, and doubt * (-cos(clip, wrong_gk) - 1) for false positives;
    it is 0 if the class has no clips in the group. Cosines with a class without a prototype are 0.

    Args:
        embeddings: (n, C).
        probs: (n, K), what the head says.
        labels: int64 (n,).
        prototypes: (K, C).
        wrong: (G, K, C): sums of embeddings, false negatives first; the last group is the false positives.
        found: bool (G, K): which of the sums are of any clip.
        factors: G of them.
        temperature: Above 0.
        doubt_scale: At least 0.

    Source: FR-Head's scores, as its code has them; the factors are PCAN's. See `Pcan`.
    """
    away = embeddings.new_ones(len(wrong), 1, 1)
    away[-1] = -1.0
    doubt = doubt_scale * (1 - probs) * _one_hot(labels, probs)
    push = doubt * found.unsqueeze(1) * (away * cosines(embeddings, wrong) - 1)
    scale = embeddings.new_tensor(factors).view(-1, 1, 1) / temperature
    scores = scale * (cosines(embeddings, prototypes) + push)
    total = functional.cross_entropy(scores.flatten(0, 1), labels.repeat(len(wrong)), reduction="sum")
    return total / max(len(labels), 1)


def diversity_loss(prototypes: torch.Tensor) -> torch.Tensor:
    """Return the Frobenius norm of the matrix of cosines between prototypes (K, C): sqrt(K + sum of cos_ij^2, i != j).

    The diagonal stays in, as published: without it (the norm of cosines - identity) the minimum is at the same
    prototypes, but there the norm has no gradient, and near it one whose length does not shrink. A prototype of length
    0 also counts 1 on the diagonal, so that the least value is sqrt(K) throughout training.
    """
    identity = torch.eye(len(prototypes), dtype=prototypes.dtype, device=prototypes.device)
    return torch.linalg.matrix_norm(cosines(prototypes, prototypes) * (1 - identity) + identity)


def tree_loss(
    fine_logits: torch.Tensor, coarse_logits: torch.Tensor, labels: torch.Tensor, parents: torch.Tensor
) -> torch.Tensor:
    """Return the mean over clips of -log p(true fine class) in a tree; 0 without clips.

    A state is a coarse class alone, or a fine class with its parent; p of a state is proportional to exp of the sum of
    sigmoid(logit) over the classes in it.

    Args:
        fine_logits: (n, K).
        coarse_logits: (n, coarse classes).
        labels: int64 (n,), fine.
        parents: int64 (K,), the coarse class of each fine one.

    Source: Chen et al., Label Relation Graphs Enhanced Hierarchical Residual Network, CVPR 2022, as PCAN uses it.
    """
    fine, coarse = fine_logits.sigmoid(), coarse_logits.sigmoid()
    # A product, not coarse[:, parents]: its gradient sums in a fixed order on every device.
    children = functional.one_hot(parents, coarse.shape[1]).to(coarse.dtype).T
    states = torch.cat([coarse, fine + coarse @ children], dim=1)
    total = functional.cross_entropy(states, labels + coarse.shape[1], reduction="sum")
    return total / max(len(labels), 1)


def cosines(vectors: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the cosines (…, n, K) between (n, C) and (…, K, C); 0, without a gradient, where either has no length."""
    return _directions(vectors) @ _directions(others).mT


def _directions(vectors: torch.Tensor) -> torch.Tensor:
    length = vectors.norm(dim=-1, keepdim=True)
    return torch.where(length > _SHORTEST, vectors / length.clamp(min=_SHORTEST), 0.0)


def _one_hot(classes: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(classes, logits.shape[1]).bool()


def _of_labelled(labels: torch.Tensor, *rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return labels and rows of the clips that have a label: selected, since NaN times 0 is NaN."""
    known = labels != NO_LABEL
    return labels[known], *(row[known] for row in rows)


def _over_processes(values: torch.Tensor) -> torch.Tensor:
    together = distributed.is_available() and distributed.is_initialized()
    return _Total.apply(values) if together else values  # pyright: ignore[reportReturnType]


class _Total(torch.autograd.Function):
    """The sum over processes.

    Its gradient is the sum of theirs, so that after DDP has averaged, each has that of the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        return _all_reduced(values)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _all_reduced(gradient)


def _all_reduced(values: torch.Tensor) -> torch.Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total
