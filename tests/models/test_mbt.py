import math

import pytest
import torch
from torch.nn import functional

from actrec.models.mbt import Mbt

WIDTHS = {"rgb": 12, "audio": 8}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(*, widths=WIDTHS, seed=0, **settings):
    chosen = {
        "width": 16,
        "layers": 2,
        "attention_heads": 4,
        "bottleneck_tokens": 4,
        "fusion_layer": 0,
        "dropout": 0.1,
        **settings,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Mbt(widths=widths, **chosen).eval()


def make_tokens(batch=3, seed=0, widths=WIDTHS):
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.randn(batch, n, widths[m], generator=generator) for n, m in zip((6, 5), widths, strict=False)}


def everywhere(batch=3, modalities=WIDTHS):
    return {modality: torch.ones(batch, dtype=torch.bool) for modality in modalities}


def at(**present):
    return {modality: torch.tensor(values) for modality, values in present.items()}


# --- size -------------------------------------------------------------------------------------------------------------


def by_hand(widths, *, width, layers, bottleneck_tokens):
    attention = 4 * (width**2 + width)  # queries, keys, values, output
    feed_forward = width * 4 * width + 4 * width + 4 * width * width + width
    norms = 2 * 2 * width
    layer = attention + feed_forward + norms
    streams = sum(inputs * width + width + width + layers * layer + 2 * width for inputs in widths.values())
    return streams + bottleneck_tokens * width


@pytest.mark.parametrize(("layers", "bottleneck_tokens"), [(1, 0), (2, 4), (3, 7)])
def test_the_parameters_by_hand(layers, bottleneck_tokens):
    network = make(layers=layers, bottleneck_tokens=bottleneck_tokens)
    expected = by_hand(WIDTHS, width=16, layers=layers, bottleneck_tokens=bottleneck_tokens)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert network.width == 16


def test_the_guides_size():
    widths = {"rgb": 768, "audio": 512}
    with torch.device("meta"):
        network = make(widths=widths, width=512, attention_heads=8)
    # 2 x 2 layers of 3,152,384; projections 393,728 and 262,656; embeddings, norms and bottleneck 5,120.
    assert sum(parameter.numel() for parameter in network.parameters()) == 4 * 3_152_384 + 393_728 + 262_656 + 5_120
    assert by_hand(widths, width=512, layers=2, bottleneck_tokens=4) == 13_271_040


# --- against the formulas -------------------------------------------------------------------------------------------


def attend(part, x, heads):
    """Multi-head self-attention, written out."""
    query, key, value = functional.linear(x, part.in_proj_weight, part.in_proj_bias).chunk(3, dim=-1)
    query, key, value = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value))
    weights = (query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])).softmax(dim=-1)
    return part.out_proj((weights @ value).transpose(1, 2).flatten(2))


def through(layer, x, heads=4):
    x = x + attend(layer.self_attn, layer.norm1(x), heads)
    return x + layer.linear2(functional.gelu(layer.linear1(layer.norm2(x))))


def test_the_result_by_the_formulas():
    """Layer 0 apart, layer 1 over the tokens and the bottleneck, layer 2 with the mean of its two copies."""
    network, tokens = make(layers=3, fusion_layer=1), make_tokens()
    with torch.inference_mode():
        streams = {
            m: stream.projection(tokens[m]) + stream.modality.view(1, 1, 16) for m, stream in network.streams.items()
        }
        streams = {m: through(network.streams[m].layers[0], x) for m, x in streams.items()}
        bottleneck = network.bottleneck.expand(3, 4, 16)
        for number in (1, 2):
            joint = {
                m: through(network.streams[m].layers[number], torch.cat([x, bottleneck], dim=1))
                for m, x in streams.items()
            }
            streams = {m: x[:, :-4] for m, x in joint.items()}
            bottleneck = (joint["rgb"][:, -4:] + joint["audio"][:, -4:]) / 2
        means = {m: network.streams[m].norm(x.mean(dim=1)) for m, x in streams.items()}
        found = network(tokens, everywhere())
    assert found.shape == (3, 16)
    assert torch.allclose(found, (means["rgb"] + means["audio"]) / 2, atol=1e-5)


def test_streams_can_be_told_apart():
    """Equal weights and equal tokens, and yet the learned embeddings differ."""
    network = make(widths={"rgb": 8, "audio": 8}, bottleneck_tokens=0)
    state = network.state_dict()
    for name in list(state):
        if name.startswith("streams.audio.") and not name.endswith(".modality"):
            state[name] = state[name.replace("audio", "rgb")]
    network.load_state_dict(state)
    same = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pooled = network.pooled({"rgb": same, "audio": same}, everywhere(2))
        assert not torch.allclose(pooled["rgb"], pooled["audio"], atol=1e-4)
        network.streams["audio"].modality.copy_(network.streams["rgb"].modality)
        pooled = network.pooled({"rgb": same, "audio": same}, everywhere(2))
    assert torch.allclose(pooled["rgb"], pooled["audio"])


# --- what reaches what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "meets"),
    [
        ({"bottleneck_tokens": 4}, True),
        ({"bottleneck_tokens": 1}, True),
        ({"bottleneck_tokens": 0}, False),
        ({"fusion_layer": 2}, False),
        # Copies are exchanged after a layer: it takes a further one to read them.
        ({"fusion_layer": 1}, False),
        ({"layers": 3, "fusion_layer": 1}, True),
    ],
    ids=str,
)
def test_streams_meet_in_the_bottleneck_alone(settings, meets):
    network, tokens = make(**settings), make_tokens()
    other = {**tokens, "audio": make_tokens(seed=1)["audio"]}
    with torch.inference_mode():
        before, after = network.pooled(tokens, everywhere()), network.pooled(other, everywhere())
    assert not torch.allclose(before["audio"], after["audio"], atol=1e-3)
    assert torch.equal(before["rgb"], after["rgb"]) is not meets


def test_samples_do_not_meet():
    network, tokens = make(), make_tokens()
    present = at(rgb=[True, True, False], audio=[True, False, True])
    order = torch.tensor([2, 0, 1])
    with torch.inference_mode():
        expected = network(tokens, present)[order]
        found = network({m: t[order] for m, t in tokens.items()}, {m: p[order] for m, p in present.items()})
    assert torch.allclose(found, expected, atol=1e-6)
    assert (expected[0] - expected[1]).abs().max() > 0.1


# --- missing modalities ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 1e30, math.nan, math.inf])
def test_what_stands_for_a_missing_modality_does_not_matter(value):
    network, tokens = make(), make_tokens()
    present = at(rgb=[True, True, False], audio=[True, False, True])
    other = {m: t.clone() for m, t in tokens.items()}
    other["audio"][1], other["rgb"][2] = value, value
    with torch.inference_mode():
        expected = network(tokens, present)
        assert torch.equal(network(other, present), expected)
        full = network(tokens, everywhere())
    assert torch.allclose(full[0], expected[0], atol=1e-6)
    assert (full[1:] - expected[1:]).abs().amax(dim=1).min() > 1e-3


def test_a_sample_with_one_modality_is_as_by_a_transformer_of_that_alone():
    network, tokens = make(), make_tokens()
    alone = make(widths={"rgb": 12})
    alone.load_state_dict({n: v for n, v in network.state_dict().items() if not n.startswith("streams.audio.")})
    with torch.inference_mode():
        found = network(tokens, at(rgb=[True] * 3, audio=[False] * 3))
        expected = alone({"rgb": tokens["rgb"]}, {"rgb": torch.ones(3, dtype=torch.bool)})
    assert torch.allclose(found, expected, atol=1e-6)


def test_gradients_stay_finite_and_nothing_is_learned_from_what_is_missing():
    network, tokens = make(dropout=0.0).train(), make_tokens()
    tokens["audio"][1] = math.nan
    tokens = {m: t.requires_grad_() for m, t in tokens.items()}
    network(tokens, at(rgb=[True] * 3, audio=[True, False, True])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert not tokens["audio"].grad[1].any() and tokens["audio"].grad[0].any() and tokens["rgb"].grad.any()
    absent = make(dropout=0.0).train()
    absent(make_tokens(), at(rgb=[True] * 3, audio=[False] * 3)).square().sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in absent.streams["audio"].parameters())


def test_a_sample_without_any_modality_is_an_error():
    with pytest.raises(ValueError, match=r"samples \[0, 2\] of the batch have none of the modalities rgb, audio"):
        make()(make_tokens(), at(rgb=[False, True, False], audio=[False, True, False]))


# --- one modality, precision, dropout -------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [2, 4, 8])
def test_one_modality_is_a_plain_transformer(heads):
    network = make(widths={"rgb": 12}, bottleneck_tokens=0, attention_heads=heads)
    tokens = make_tokens()["rgb"]
    stream = network.streams["rgb"]
    with torch.inference_mode():
        x = stream.projection(tokens) + stream.modality
        for layer in stream.layers:
            x = through(layer, x, heads)
        found = network({"rgb": tokens}, {"rgb": torch.ones(3, dtype=torch.bool)})
    assert torch.allclose(found, stream.norm(x.mean(dim=1)), atol=1e-5)


def test_cached_tokens_of_half_precision():
    network, tokens = make(), make_tokens()
    halves = {m: t.bfloat16() for m, t in tokens.items()}
    with torch.inference_mode():
        found = network(halves, everywhere())
        assert found.dtype == torch.float32
        assert torch.equal(found, network({m: t.float() for m, t in halves.items()}, everywhere()))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.allclose(network(tokens, everywhere()).float(), network(tokens, everywhere()).float())
            assert (network(tokens, everywhere()).float() - found).abs().max() < 0.2


def test_dropout_acts_in_training_alone():
    network, tokens = make(dropout=0.5), make_tokens()
    assert torch.equal(network(tokens, everywhere()), network(tokens, everywhere()))
    network.train()
    assert not torch.allclose(network(tokens, everywhere()), network(tokens, everywhere()), atol=1e-3)


def test_training_and_evaluation_agree_but_for_dropout():
    """torch has other kernels for each."""
    network, tokens = make(dropout=0.0), make_tokens()
    with torch.inference_mode():
        evaluated = network(tokens, everywhere())
    assert torch.allclose(network.train()(tokens, everywhere()), evaluated, atol=1e-5)


def test_settings_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match="width 16 is not a multiple of attention_heads 3"):
        make(attention_heads=3)
    for layer in (-1, 3):
        with pytest.raises(ValueError, match=f"fusion_layer {layer} is not one of 0 to layers = 2"):
            make(fusion_layer=layer)
