from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from actrec.training.predict import predict


class Echo(nn.Module):
    """Says of each head what stands in the batch, times a weight of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batch):
        return {head: values * self.weight for head, values in batch["logits"].items()}

    def to_probs(self, head, logits):
        return logits.sigmoid() if head == "acts" else logits.softmax(dim=1)


class Plan:
    """Two batches: of two clips and of one, each clip in two views."""

    def __init__(self, logits: dict[str, torch.Tensor]) -> None:
        self._logits = logits

    def plain(self, *, batch_size: int):
        assert batch_size == 2
        for rows in (slice(0, 4), slice(4, 6)):
            yield {"logits": {head: values[rows] for head, values in self._logits.items()}, "views": 2}


@pytest.mark.parametrize("through_fabric", [False, True])
def test_views_are_averaged_as_the_probabilities_that_the_model_makes_of_each_head(bench, through_fabric):
    rng = torch.Generator().manual_seed(0)
    logits = {"action": torch.randn(6, 3, generator=rng), "acts": torch.randn(6, 2, generator=rng)}
    model = bench.fabric.setup_module(Echo()) if through_fabric else Echo()
    batches: Any = Plan(logits)
    probs = predict(model, batches, device=torch.device("cpu"), batch_size=2)
    wide = {head: values.double().numpy().reshape(3, 2, -1) for head, values in logits.items()}
    exps = np.exp(wide["action"])
    np.testing.assert_allclose(probs["action"], (exps / exps.sum(-1, keepdims=True)).mean(1), rtol=1e-5)
    np.testing.assert_allclose(probs["acts"], (1 / (1 + np.exp(-wide["acts"]))).mean(1), rtol=1e-5)
    assert probs["acts"].dtype == np.float32
