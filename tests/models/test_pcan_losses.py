"""The losses of PCAN by themselves, on numbers worked by hand; the module around them is in test_pcan.py."""

import math

import pytest
import torch
from torch.nn import functional

from actrec.models.pcan import calibration_loss, coarse_groups, cosines, diversity_loss, fine_groups, tree_loss


def sure(classes, of):
    """Return logits that say these classes."""
    return 4.0 * functional.one_hot(torch.tensor(classes), of)


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- which clip is what -----------------------------------------------------------------------------------------------


def test_which_clip_is_what_at_the_fine_level():
    fine_labels = torch.tensor([0, 0, 0, 0, 2])
    groups = fine_groups(sure([0, 1, 0, 2, 0], 3), fine_labels, torch.tensor([True, True, False, False, True]))
    members = [[(clip, cls) for clip, cls in group.nonzero().tolist()] for group in groups]
    true_positives, fine_wrong, coarse_wrong, both_wrong, false_positives = members
    assert (true_positives, coarse_wrong, both_wrong) == ([(0, 0)], [(2, 0)], [(3, 0)])
    assert fine_wrong == [(1, 0), (4, 2)]
    assert false_positives == [(1, 1), (3, 2), (4, 0)]


def test_which_clip_is_what_at_the_coarse_level():
    groups = coarse_groups(sure([0, 1, 0], 2), torch.tensor([0, 0, 1]))
    members = [[tuple(pair) for pair in group.nonzero().tolist()] for group in groups]
    assert members == [[(0, 0)], [(1, 0), (2, 1)], [(1, 1), (2, 0)]]


# --- calibration ------------------------------------------------------------------------------------------------------

# One clip of class 0 in the direction (.6, .8), which the head gives a probability of .25; cosines with the prototypes
# .6 and .8; alpha = tau = .5, so that doubt = .5 * .75 = .375.
CLIP = {
    "embeddings": torch.tensor([[3.0, 4.0]]),
    "probs": torch.tensor([[0.25, 0.75]]),
    "labels": torch.tensor([0]),
    "prototypes": torch.tensor([[2.0, 0.0], [0.0, 5.0]]),
    # The false negatives of class 0 point to (.8, .6): cosine .96. Its false positives to (-1, 0): cosine -.6.
    "wrong": torch.tensor([[[4.0, 3.0], [9.0, 9.0]], [[-1.0, 0.0], [9.0, 9.0]]]),
    "found": torch.tensor([[True, True], [True, True]]),
    "temperature": 0.5,
    "doubt_scale": 0.5,
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # Scores (.6 + .375 * (.96 - 1), .8) / .5 = (1.17, 1.6) and (.6 + .375 * (.6 - 1), .8) / .5 = (.9, 1.6):
        # ln(1 + e^.43) + ln(1 + e^.7) = .931084 + 1.103186.
        ({"factors": (1, 1)}, 2.034270),
        # The factor is on the scores, (.117, .16), not on the loss: ln(1 + e^.043) + 1.103186 = .714878 + 1.103186.
        ({"factors": (0.1, 1)}, 1.818064),
        # Half the temperature doubles the scores, (2.34, 3.2) and (1.8, 3.2): ln(1 + e^.86) + ln(1 + e^1.4).
        ({"factors": (1, 1), "temperature": 0.25}, 2.833299),
        # Without doubt there is no push, (1.2, 1.6) twice: 2 ln(1 + e^.4).
        ({"factors": (1, 1), "doubt_scale": 0.0}, 1.826031),
        # No false positives of class 0, so no push, (.6, .8) / .5: .931084 + ln(1 + e^.4) = .931084 + .913015.
        ({"factors": (1, 1), "found": torch.tensor([[True, True], [False, True]])}, 1.844099),
        # No prototype of class 0: cosine 0. Scores (-.03, 1.6) and (-.3, 1.6): ln(1 + e^1.63) + ln(1 + e^1.9)
        # = 1.808924 + 2.039387.
        ({"factors": (1, 1), "prototypes": torch.tensor([[0.0, 0.0], [0.0, 5.0]])}, 3.848311),
        # No prototypes, no mistakes: all scores 0, ln 2 twice.
        ({"factors": (1, 1), "prototypes": torch.zeros(2, 2), "found": torch.zeros(2, 2).bool()}, 1.386294),
    ],
)
def test_calibration_by_hand(changed, expected):
    assert float(calibration_loss(**{**CLIP, **changed})) == pytest.approx(expected, abs=1e-6)


def test_gradients_of_calibration():
    # Each group has a clip: two are right, then fine wrong, coarse wrong, both wrong.
    labels, coarse_right = torch.tensor([0, 1, 1, 1, 2]), torch.tensor([True, True, True, False, False])
    embeddings, logits, old = random(5, 4), random(5, 3, seed=1) + sure([0, 1, 2, 1, 0], 3), random(3, 4, seed=2)
    groups = fine_groups(logits, labels, coarse_right).double()
    assert groups.sum(dim=(1, 2)).tolist() == [2, 1, 1, 1, 2]

    def loss(embeddings, logits):
        sums = groups.mT @ embeddings
        prototypes, found = old + 0.1 * sums[0], groups[1:].sum(dim=1) > 0
        return calibration_loss(
            embeddings,
            logits.softmax(dim=1),
            labels,
            prototypes,
            sums[1:],
            found,
            factors=(1, 0.1, 0.5, 1),
            temperature=0.125,
            doubt_scale=0.125,
        )

    assert torch.autograd.gradcheck(loss, (embeddings.requires_grad_(), logits.requires_grad_()))


# --- diversity --------------------------------------------------------------------------------------------------------


def test_diversity_by_hand():
    # Cosines 0, .6 and .8 off the diagonal: sqrt(3 + 2 * (0 + .36 + .64)) = sqrt(5).
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    assert float(diversity_loss(prototypes)) == pytest.approx(math.sqrt(5), abs=1e-6)
    assert float(torch.linalg.norm(cosines(prototypes, prototypes))) == pytest.approx(math.sqrt(5), abs=1e-6)


def test_diversity_is_least_and_smooth_where_prototypes_are_orthogonal_or_not_there():
    for least in (3 * torch.eye(4), torch.zeros(4, 4)):
        least.requires_grad_()
        value = diversity_loss(least)
        value.backward()
        assert value.detach() == 2.0 and torch.equal(least.grad, torch.zeros(4, 4))


def test_gradients_of_diversity_and_of_cosines():
    vectors, others = random(4, 3).requires_grad_(), random(2, 5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(diversity_loss, (vectors,))
    assert torch.autograd.gradcheck(cosines, (vectors, others))


# --- the tree ---------------------------------------------------------------------------------------------------------


def test_the_tree_loss_by_hand():
    # sigmoid(0) = .5, sigmoid(ln 3) = .75, sigmoid(-ln 3) = .25. Coarse .75 .5; fine .5 .75 .25 under 0, 0, 1.
    ln3 = math.log(3)
    coarse, fine = torch.tensor([[ln3, 0.0]]), torch.tensor([[0.0, ln3, -ln3]])
    # States: coarse alone .75 .5; with the parent .5 + .75 = 1.25, .75 + .75 = 1.5, .25 + .5 = .75. The sum of exp is
    # 2.117000017 + 1.648721271 + 3.490342957 + 4.481689070 + 2.117000017 = 13.854753332, whose ln is 2.628628375.
    parents = torch.tensor([0, 0, 1])
    for label, expected in ((0, 1.378628375), (1, 1.128628375), (2, 1.878628375)):
        assert float(tree_loss(fine, coarse, torch.tensor([label]), parents)) == pytest.approx(expected, abs=1e-6)
    both = tree_loss(fine.repeat(2, 1), coarse.repeat(2, 1), torch.tensor([0, 2]), parents)
    assert float(both) == pytest.approx((1.378628375 + 1.878628375) / 2, abs=1e-6)


def test_the_tree_of_ma52_has_59_states():
    parents = torch.tensor([sum(i > last for last in (4, 10, 23, 31, 37, 47)) for i in range(52)])
    states = torch.eye(59, dtype=torch.float64)
    states[torch.arange(7, 59), parents] = 1  # a fine class switches its parent on
    coarse, fine = random(4, 7), random(4, 52, seed=1)
    fine_labels = torch.tensor([0, 5, 30, 51])
    joint = (torch.cat([coarse, fine], dim=1).sigmoid() @ states.T).exp()
    on = states[:, 7 + fine_labels].T
    expected = -((joint * on).sum(dim=1) / joint.sum(dim=1)).log().mean()
    torch.testing.assert_close(tree_loss(fine, coarse, fine_labels, parents), expected)
    leaves = (fine.requires_grad_(), coarse.requires_grad_())
    assert torch.autograd.gradcheck(lambda f, c: tree_loss(f, c, fine_labels, parents), leaves)
