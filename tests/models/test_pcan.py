import math

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from actrec.models.pcan import NO_LABEL, Pcan, coarse_groups, cosines, fine_groups
from actrec.training import labels

PARENTS = (0, 0, 1)
WIDTHS = {"rgb": 6, "pose": 5}
ALL = ("calibration", "diversity", "tree", "rectification")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(*on, widths=WIDTHS, parents=PARENTS, num_coarse=2, seed=0, **settings):
    """Return a Pcan with the named parts on, of 3 fine and 2 coarse classes, and otherwise as published."""
    chosen = {
        **{name: name in on for name in ALL},
        "calibration_weight": 0.2,
        "false_negative_factors": (1.0, 0.1, 0.5),
        "diversity_weight": 0.2,
        "tree_weight": 1.0,
        "rectification_weights": {"rgb": 5.0, "pose": 1.0},
        "fine_width": 4,
        "coarse_width": 3,
        "momentum": 0.9,
        "temperature": 0.125,
        "doubt_scale": 0.125,
        **settings,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Pcan(widths=widths, parents=parents, num_coarse=num_coarse, **chosen)


def make_plain(*on, **settings):
    """Return one that embeds 2-D tokens as they are, so that numbers can be worked by hand."""
    pcan = make(*on, widths={"rgb": 2}, fine_width=2, coarse_width=2, **settings)
    for level in (*pcan.fine.values(), *pcan.coarse.values()):
        nn.init.eye_(level.projection.weight)
        nn.init.zeros_(level.projection.bias)
    return pcan


def make_clips(n=12, *, width=6, seed=0, parents=PARENTS):
    """Return tokens, fine and coarse logits, fine and coarse labels; about half of the predictions are right."""
    generator = torch.Generator().manual_seed(seed)
    fine_labels = torch.randint(len(parents), (n,), generator=generator)
    coarse_labels = torch.tensor(parents)[fine_labels]
    fine = torch.randn(n, len(parents), generator=generator)
    coarse = torch.randn(n, max(parents) + 1, generator=generator)
    fine[torch.arange(n), fine_labels] += 1
    tokens = torch.randn(n, 3, width, generator=generator)
    return tokens, fine, coarse, fine_labels, coarse_labels


def sure(classes, of):
    """Return logits that say these classes."""
    return 4.0 * nn.functional.one_hot(torch.tensor(classes), of)


def buffers(pcan):
    return {name: value.clone() for name, value in pcan.named_buffers()}


def test_the_number_of_no_label_is_that_of_training():
    assert labels.NO_LABEL == NO_LABEL


# --- prototypes -------------------------------------------------------------------------------------------------------


def test_prototypes_are_moving_averages_over_true_positives():
    pcan = make_plain("calibration")
    # The maximum over two tokens: (1, 0) (0, 1) (5, 5) (2, 4) (7, 7).
    tokens = torch.tensor([[[1.0, 0], [0, 0]], [[0, 1], [0, 0]], [[5, 0], [0, 5]], [[2, 4], [1, 1]], [[7, 7], [0, 0]]])
    fine_labels, coarse_labels = torch.tensor([0, 0, 0, 2, 1]), torch.tensor([0, 0, 0, 1, 0])
    # Clip 2: fine right and coarse wrong, which is no true positive of the fine class. Clip 4: both wrong.
    fine_logits, coarse_logits = sure([0, 0, 0, 2, 2], 3), sure([0, 0, 1, 1, 1], 2)
    step = (tokens, fine_logits, coarse_logits, fine_labels, coarse_labels)
    pcan.penalties("rgb", *step)
    # 0.9 * 0 + 0.1 * the mean of (1, 0) and (0, 1); class 1 has had no true positive; 0.1 * (2, 4).
    fine = pcan.fine["rgb"].prototypes
    torch.testing.assert_close(fine, torch.tensor([[0.05, 0.05], [0, 0], [0.2, 0.4]]))
    torch.testing.assert_close(pcan.coarse["rgb"].prototypes, torch.tensor([[0.05, 0.05], [0.2, 0.4]]))
    pcan.penalties("rgb", *(part[:1] for part in step))
    # 0.9 * 0.05 + 0.1 * 1, 0.9 * 0.05; class 2 has no true positive in this batch, and stays.
    torch.testing.assert_close(fine, torch.tensor([[0.145, 0.045], [0, 0], [0.2, 0.4]]))
    pcan.eval().penalties("rgb", *step)
    torch.testing.assert_close(fine, torch.tensor([[0.145, 0.045], [0, 0], [0.2, 0.4]]))


def test_prototypes_are_saved_and_training_goes_on_from_them():
    first, other = make(*ALL), make(*ALL, seed=1)
    first.penalties("rgb", *make_clips())
    first.penalties("pose", *make_clips(width=5, seed=1))
    state = first.state_dict()
    assert {f"{level}.{stream}.prototypes" for level in ("fine", "coarse") for stream in WIDTHS} < set(state)
    assert all(state[name].abs().sum() > 0 for name in state)
    other.load_state_dict(state)
    for pcan in (first, other):
        pcan.penalties("rgb", *make_clips(seed=2))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in first.state_dict().items())


def test_prototypes_are_buffers_and_embeddings_have_the_published_sizes():
    parents = [min(i // 8, 6) for i in range(52)]
    sizes = {"fine_width": 256, "coarse_width": 128}
    pcan = make(*ALL, widths={"rgb": 2048, "pose": 512}, parents=parents, num_coarse=7, **sizes)
    shapes = {name: tuple(value.shape) for name, value in pcan.named_buffers() if name != "parents"}
    per_stream = {"fine": (52, 256), "coarse": (7, 128)}
    assert shapes == {f"{level}.{s}.prototypes": size for level, size in per_stream.items() for s in ("rgb", "pose")}
    assert sum(p.numel() for p in pcan.parameters()) == (2049 + 513) * (256 + 128)


# --- losses -----------------------------------------------------------------------------------------------------------


PUBLISHED = {"false_negative_factors": (1.0, 0.1, 0.5), "temperature": 0.125, "doubt_scale": 0.125}
OTHERS = {"false_negative_factors": (0.3, 2.0, 0.7), "temperature": 0.25, "doubt_scale": 0.5}


def plain_calibration(embeddings, probs, labels, members, prototypes, factors, *, temperature, doubt_scale):
    """Return the same one clip and one group at a time, from the members [(clip, class)] of the groups."""
    total = 0.0
    for clip, label in enumerate(labels.tolist()):
        near = [float(nn.functional.cosine_similarity(embeddings[clip], p, dim=0)) for p in prototypes]
        for group, factor in enumerate(factors, start=1):
            sign = -1 if group == len(factors) else 1
            scores = list(near)
            if own := [other for other, cls in members[group] if cls == label]:
                wrong = sum(embeddings[other] for other in own)
                alike = float(nn.functional.cosine_similarity(embeddings[clip], wrong, dim=0))
                scores[label] += doubt_scale * (1 - float(probs[clip, label])) * (sign * alike - 1)
            scores = [factor * score / temperature for score in scores]
            total += math.log(sum(math.exp(score) for score in scores)) - scores[label]
    return total / len(labels)


@pytest.mark.parametrize(("seed", "settings"), [(0, PUBLISHED), (1, PUBLISHED), (2, PUBLISHED), (0, OTHERS)])
def test_calibration_against_one_clip_at_a_time(seed, settings):
    pcan = make("calibration", **settings)
    fine_factors = (*settings["false_negative_factors"], 1)
    scale = {name: settings[name] for name in ("temperature", "doubt_scale")}
    tokens, fine, coarse, fine_labels, coarse_labels = clips = make_clips(40, seed=seed)
    parts = pcan.penalties("rgb", *clips)
    coarse_right = coarse.argmax(dim=1) == coarse_labels
    for name, level, logits, known, groups, factors in (
        ("fine", pcan.fine, fine, fine_labels, fine_groups(fine, fine_labels, coarse_right), fine_factors),
        ("coarse", pcan.coarse, coarse, coarse_labels, coarse_groups(coarse, coarse_labels), (1, 1)),
    ):
        embeddings = level["rgb"].projection(tokens.max(dim=1).values).detach()
        members = [group.nonzero().tolist() for group in groups]
        assert all(members)
        expected = plain_calibration(
            embeddings, logits.softmax(dim=1), known, members, level["rgb"].prototypes, factors, **scale
        )
        assert float(parts[f"rgb/calibration_{name}"].detach()) == pytest.approx(0.2 * expected, rel=1e-5)


def test_diversity_reaches_the_tokens_and_drives_prototypes_apart():
    pcan = make_plain("diversity", momentum=0.0)
    tokens = nn.Parameter(torch.tensor([[[1.0, 0.9]], [[0.9, 1.0]]]))
    clips = (sure([0, 2], 3), sure([0, 1], 2), torch.tensor([0, 2]), torch.tensor([0, 1]))
    for _ in range(50):
        (value,) = pcan.penalties("rgb", tokens, *clips).values()
        (gradient,) = torch.autograd.grad(value, tokens)
        tokens.data -= gradient
    assert float(cosines(*[pcan.fine["rgb"].prototypes] * 2)[0, 2]) == pytest.approx(0, abs=0.01)


# --- rectification ----------------------------------------------------------------------------------------------------


def test_rectification_by_hand():
    pcan = make_plain("rectification").eval()
    pcan.fine["rgb"].prototypes.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.1]]))
    # The maximum over tokens is (3, 4): cosines .6, 0 (no prototype yet) and .8, times 5.
    tokens, logits = torch.tensor([[[3.0, -9.0], [0.0, 4.0]]]), torch.tensor([[1.0, 2.0, -1.0]])
    torch.testing.assert_close(pcan.rectify("rgb", tokens, logits), torch.tensor([[4.0, 2.0, 3.0]]))


def test_each_stream_is_rectified_with_its_own_prototypes_and_weight():
    pcan, off = make("rectification"), make("calibration", "diversity", "tree")
    for stream, width, weight in (("rgb", 6, 5.0), ("pose", 5, 1.0)):
        tokens, logits, *rest = make_clips(width=width)
        pcan.penalties(stream, tokens, logits, *rest)
        level = pcan.fine[stream]
        embeddings = level.projection(tokens.max(dim=1).values)
        alike = nn.functional.cosine_similarity(embeddings[:, None], level.prototypes[None], dim=2)
        torch.testing.assert_close(pcan.rectify(stream, tokens, logits), logits + weight * alike)
        assert off.rectify(stream, tokens, logits) is logits


# --- switches and edges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "names"),
    [
        (ALL, {"calibration_fine", "calibration_coarse", "diversity", "tree"}),
        (("calibration",), {"calibration_fine", "calibration_coarse"}),
        (("diversity",), {"diversity"}),
        (("tree",), {"tree"}),
        (("rectification",), set()),
    ],
)
def test_each_part_can_be_switched(on, names):
    pcan, before = make(*on), make(*on)
    parts = pcan.penalties("pose", *make_clips(width=5))
    assert set(parts) == {f"pose/{name}" for name in names}
    assert all(part.ndim == 0 and part > 0 for part in parts.values())
    # DDP wants a gradient for all that could learn.
    learn = [p for level in (pcan.fine, pcan.coarse) for n, p in level.named_parameters() if n.startswith("pose")]
    learn = [parameter for parameter in learn if parameter.requires_grad]
    assert bool(learn) == bool({"calibration", "diversity"} & set(on))
    if learn:
        sum(parts.values()).backward()
        assert all(parameter.grad is not None for parameter in learn)
    moved = [n for n, value in pcan.named_buffers() if not torch.equal(value, before.get_buffer(n))]
    assert bool(moved) == (on != ("tree",))


def test_weights_multiply_their_parts():
    once, more = make(*ALL), make(*ALL, calibration_weight=0.6, diversity_weight=1.0, tree_weight=0.5)
    ratios = {"calibration_fine": 3, "calibration_coarse": 3, "diversity": 5, "tree": 0.5}
    parts, changed = (pcan.penalties("rgb", *make_clips()) for pcan in (once, more))
    for name, ratio in ratios.items():
        torch.testing.assert_close(changed[f"rgb/{name}"], ratio * parts[f"rgb/{name}"])


@pytest.mark.parametrize("mode", [True, False])
def test_a_clip_without_a_label_has_no_part_in_anything(mode):
    clips = make_clips(8)
    more = [torch.cat([part, torch.full_like(part[:2], NO_LABEL)]) for part in clips]
    for part in more[:3]:
        part[8:] = math.nan
    pcan, same = make(*ALL).train(mode), make(*ALL).train(mode)
    leaves = [part.requires_grad_() for part in more[:3]]
    parts, expected = pcan.penalties("rgb", *more), same.penalties("rgb", *clips)
    torch.testing.assert_close(parts, expected)
    torch.testing.assert_close(buffers(pcan), buffers(same))
    for gradient in torch.autograd.grad(sum(parts.values()), leaves):
        assert gradient[:8].isfinite().all() and not gradient[8:].any()


def test_a_batch_without_labels_adds_nothing_and_moves_nothing():
    pcan = make(*ALL)
    pcan.penalties("rgb", *make_clips())
    before = buffers(pcan)
    tokens, fine, coarse, *known = make_clips(seed=1)
    leaves = [tokens.requires_grad_(), fine.requires_grad_(), *pcan.fine["rgb"].parameters()]
    parts = pcan.penalties("rgb", tokens, fine, coarse, *(torch.full_like(part, NO_LABEL) for part in known))
    assert all(torch.equal(value, before[name]) for name, value in buffers(pcan).items())
    assert [float(parts[f"rgb/{name}"].detach()) for name in ("calibration_fine", "calibration_coarse", "tree")] == [
        0
    ] * 3
    assert not any(gradient.any() for gradient in torch.autograd.grad(sum(parts.values()), leaves))


def test_nothing_right_nothing_wrong_and_no_length_give_finite_gradients():
    tokens, _, _, *known = make_clips()
    fine_labels, coarse_labels = known
    for off in (0, 1):
        pcan = make(*ALL)
        said = sure(((fine_labels + off) % 3).tolist(), 3), sure(((coarse_labels + off) % 2).tolist(), 2)
        for level in (pcan.fine["rgb"], pcan.coarse["rgb"]):
            nn.init.zeros_(level.projection.bias)
        leaf = torch.cat([tokens[:6], torch.zeros(6, 3, 6)]).requires_grad_()
        parts = pcan.penalties("rgb", leaf, *said, *known)
        sum(parts.values()).backward()
        assert leaf.grad.abs().max() < 10


def test_the_same_clips_give_the_same_bits():
    runs = []
    for _ in range(2):
        pcan = make(*ALL)
        for seed in (0, 1):
            sum(pcan.penalties("rgb", *make_clips(seed=seed)).values()).backward()
        runs.append([*buffers(pcan).values(), *(p.grad for name, p in pcan.named_parameters() if "rgb" in name)])
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_half_precision_around_it_does_not_reach_prototypes():
    pcan, full = make(*ALL), make(*ALL)
    expected = full.penalties("rgb", *make_clips())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(pcan.penalties("rgb", *make_clips()), expected, rtol=0, atol=0)
        halves = [part.bfloat16() for part in make_clips()[:3]]
        parts = pcan.penalties("rgb", *halves, *make_clips()[3:])
        rectified = pcan.rectify("rgb", *halves[:2])
    assert {part.dtype for part in (*parts.values(), rectified)} == {torch.float32}


def test_settings_that_do_not_fit():
    with pytest.raises(ValueError, match=r"parents are coarse classes from 0 to 1, got \[2\]"):
        make("tree", parents=(0, 1, 2))
    with pytest.raises(ValueError, match="rectification_weights has no weight for pose"):
        make("rectification", rectification_weights={"rgb": 5.0})
    make("tree", rectification_weights={})


# --- several processes ------------------------------------------------------------------------------------------------


class Step(nn.Module):
    """What a training step asks of it, as one forward: DDP wraps that."""

    def __init__(self):
        super().__init__()
        self.pcan = make(*ALL, widths={"rgb": 6})

    def forward(self, clips):
        return sum(self.pcan.penalties("rgb", *clips).values())


def three_steps(rank, ranks, model, core):
    """Return the mean loss and the gradients of a first step, and the prototypes after each of three."""
    first, second, third = (make_clips(12, seed=seed) for seed in (0, 1, 2))
    for part in third[3:]:
        part[6:] = NO_LABEL  # nothing for the second of two processes
    found = {}
    for number, clips in enumerate((first, second, third)):
        size = 12 // ranks
        loss = model([part[rank * size : (rank + 1) * size] for part in clips])
        loss.backward()
        if number == 0:
            found = {"loss": loss.detach().clone(), **{n: p.grad.clone() for n, p in core.named_parameters()}}
        found |= {f"{name} {number}": value for name, value in buffers(core).items()}
    return found


def run_rank(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    core = Step()
    torch.save(three_steps(rank, 2, DistributedDataParallel(core), core), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_learn_what_one_learns_from_the_whole_batch(tmp_path):
    multiprocessing.spawn(run_rank, args=(tmp_path,), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    core = Step()
    whole = three_steps(0, 1, core, core)
    losses = [rank.pop("loss") for rank in ranks]
    torch.testing.assert_close(sum(losses) / 2, whole.pop("loss"))
    assert abs(losses[0] - losses[1]) > 0.01
    for rank in ranks:
        torch.testing.assert_close(rank, whole)
    assert all(torch.equal(value, ranks[1][name]) for name, value in ranks[0].items())
