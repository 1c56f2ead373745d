"""The small model: with each place empty, with each filled, against transformers' Llama and against loops over its queries."""

import dataclasses
import itertools
import math

import pytest
import torch
from small_models import CAUSAL, CONFIG, FLOAT32, GEOMETRY, LENGTH, PLACES, ROPE, WEIGHTED, WINDOW, llama, model, options, quiet, tokens

from clexlab import biases, ode, scaling, small, sparse
from clexlab.biases import BIASES
from clexlab.positions import maps
from clexlab.positions.maps import MAPS
from clexlab.scaling import SCALINGS
from clexlab.sparse import PATTERNS


def test_there_is_a_case_for_every_scaling_bias_map_and_pattern():
    assert len(PLACES) == 2 + len(SCALINGS) + 2 * len(BIASES) + len(MAPS) + len(PATTERNS)


# --- what holds whatever the places are ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_the_last_token_changes_nothing_before_it(name):
    made, text = model(name), tokens()
    changed = text.clone()
    changed[:, -1] = (changed[:, -1] + 1) % CONFIG.vocabulary
    before, after = made(text).logits, made(changed).logits
    torch.testing.assert_close(before[:, :-1], after[:, :-1], rtol=0, atol=0)
    assert not torch.allclose(before[:, -1], after[:, -1])


@pytest.mark.parametrize("name", PLACES)
@torch.no_grad()
def test_padding_on_either_side_changes_nothing(name):
    made, text = model(name), tokens(1, LENGTH)
    alone = made(text).logits[0]
    other = tokens(1, LENGTH + 8, seed=1)[0]
    padded, mask = torch.zeros(3, LENGTH + 8, dtype=torch.long), torch.zeros(3, LENGTH + 8, dtype=torch.long)
    padded[0], mask[0] = other, 1
    padded[1, 8:], mask[1, 8:] = text, 1
    padded[2, 3 : LENGTH + 3], mask[2, 3 : LENGTH + 3] = text, 1
    together = made(padded, attention_mask=mask).logits
    torch.testing.assert_close(together[1, 8:], alone, **FLOAT32)
    torch.testing.assert_close(together[2, 3 : LENGTH + 3], alone, **FLOAT32)
    torch.testing.assert_close(together[0], made(other[None]).logits[0], **FLOAT32)
    assert bool(together.isfinite().all())


# A map says the positions itself. FIRE's shares depend on where the query stands, by its nature.
@pytest.mark.parametrize("name", [name for name, places in PLACES.items() if places.positions is None and places.bias is not biases.FIRE])
@torch.no_grad()
def test_three_positions_further_on_nothing_is_changed_while_the_window_is_not_left(name):
    # Beyond the window factors follow the last position.
    made, text, places = model(name), tokens(2, WINDOW - 3), torch.arange(WINDOW - 3)[None]
    torch.testing.assert_close(made(text, position_ids=places + 3).logits, made(text, position_ids=places).logits, **FLOAT32)


@pytest.mark.parametrize(
    "name,count",
    [(name, 2) for name, places in PLACES.items() if places.positions is None and places.pattern is None]
    + [("yarn", 1), ("interpolated_alibi", 1), ("local", 1)],
)
@torch.no_grad()
def test_padding_with_given_positions_changes_nothing_whatever_stands_in_it(name, count):
    made, text, places = model(name), tokens(2, LENGTH), torch.arange(LENGTH)[None] * 2 + 1
    alone = made(text, position_ids=places).logits
    padded, ids, mask = torch.zeros(2, LENGTH + 8, dtype=torch.long), torch.randint(500, (count, LENGTH + 8)), torch.zeros(2, LENGTH + 8)
    padded[:, 3 : LENGTH + 3], ids[:, 3 : LENGTH + 3], mask[:, 3 : LENGTH + 3] = text, places, 1
    together = made(padded, attention_mask=mask, position_ids=ids).logits
    torch.testing.assert_close(together[:, 3 : LENGTH + 3], alone, **FLOAT32)


@pytest.mark.parametrize("name", PLACES)
def test_one_step_lowers_the_loss_of_its_own_rows_and_reaches_every_weight(name):
    made, text = model(name).train(), tokens()
    first = made(text, labels=text).loss
    first.backward()
    # Not a learned path: at its start some of its tensors have no gradient, and which have is the next test's.
    learned = {key: weight for key, weight in made.named_parameters() if ".scaling." not in f".{key}"}
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in learned.values())
    # A clipped count has a gradient only where it is read: some entries of a table stay untouched, no tensor does.
    assert all(bool((weight.grad != 0).any()) for weight in learned.values())
    torch.optim.SGD(learned.values(), lr=0.01).step()
    assert made(text, labels=text).loss < first


def test_a_learned_path_gets_its_gradient_beyond_the_window_and_none_within_it():
    made, text = model("clex").train(), tokens()

    def moved(length):
        made.zero_grad()
        made(text[:, :length], labels=text[:, :length]).loss.backward()
        grads = [weight.grad for weight in made.decoder.scaling.parameters()]
        return any(grad is not None and bool((grad != 0).any()) for grad in grads)

    # θ(1) is the prior's whatever is learned.
    assert moved(LENGTH) and not moved(WINDOW)


@pytest.mark.parametrize("name", [*WEIGHTED, "all four"])
@torch.no_grad()
def test_weights_come_back_from_a_file(name, tmp_path):
    made, other = model(name), model(name, seed=1)
    made.save(tmp_path / "weights.safetensors")
    assert not torch.allclose(other(tokens()).logits, made(tokens()).logits)
    assert other.load(tmp_path / "weights.safetensors") is other
    assert torch.equal(other(tokens()).logits, made(tokens()).logits)


@pytest.mark.parametrize("name", [*WEIGHTED, "all four"])
def test_a_seed_gives_the_same_weights_whatever_the_places(name):
    made, plain = small.fresh(CONFIG, 3, **options(PLACES[name])), small.fresh(CONFIG, 3)
    for key, weight in plain.state_dict().items():
        assert torch.equal(made.state_dict()[key], weight)
    before = torch.random.get_rng_state()
    small.fresh(CONFIG, 3, **options(PLACES[name]))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["none", "yarn", "fire", "cope", "rerope"])
@torch.no_grad()
def test_only_the_logits_asked_for_are_the_same_logits(name):
    made, text = model(name), tokens()
    whole = made(text).logits
    torch.testing.assert_close(made(text, logits_to_keep=3).logits, whole[:, -3:], **FLOAT32)
    torch.testing.assert_close(made(text, logits_to_keep=torch.tensor([4, 9])).logits, whole[:, [4, 9]], **FLOAT32)


# --- parity: transformers' Llama, and no position ------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [kind for kind in SCALINGS if kind is not scaling.CLEX])
@torch.no_grad()
def test_with_a_scaling_it_is_transformers_llama(kind):
    made, text = model(kind.name), tokens()
    path = made.places.scaling
    twin = llama(made, path.rope_parameters(made.factor_for(LENGTH)))
    torch.testing.assert_close(made(text).logits, twin(text).logits, **FLOAT32)
    mask = torch.ones_like(text)
    mask[0, :7] = 0
    ours, theirs = made(text, attention_mask=mask).logits, twin(text, attention_mask=mask).logits
    # The first row is a shorter text here, read at its own factor; the second has none of the padding.
    torch.testing.assert_close(ours[1], theirs[1], **FLOAT32)
    torch.testing.assert_close(made(text, labels=text).loss, twin(text, labels=text).loss, **FLOAT32)


@torch.no_grad()
def test_position_ids_are_the_positions_of_the_angles():
    made, text = model("identity"), tokens()
    twin, places = llama(made, ROPE.rope_parameters(1.0)), torch.arange(LENGTH) * 2 + 5
    mask = torch.ones_like(text)
    theirs = twin(text, position_ids=places[None], attention_mask=mask).logits
    torch.testing.assert_close(made(text, position_ids=places[None]).logits, theirs, **FLOAT32)
    each = torch.stack([places, torch.arange(LENGTH)])
    torch.testing.assert_close(made(text, position_ids=each).logits, twin(text, position_ids=each, attention_mask=mask).logits, **FLOAT32)


@pytest.mark.parametrize("kind", [kind for kind in BIASES if kind.learned])
@torch.no_grad()
def test_a_learned_bias_with_zeros_for_parameters_is_no_position(kind):
    made = model(small.Places(bias=kind))
    for weight in made.decoder.biases.parameters():
        weight.zero_()
    text = tokens()
    # KERPLE's floor is 0.01: a bias of 0.01 ln 1.4 at most, and logarithms or powers that size.
    room = 5e-2 if kind in (biases.KERPLELog, biases.KERPLEPower) else 1e-5
    torch.testing.assert_close(made(text).logits, model("none")(text).logits, rtol=1e-4, atol=room)


@torch.no_grad()
def test_nope_and_no_place_at_all_are_one_model():
    torch.testing.assert_close(model("nope")(tokens()).logits, model("none")(tokens()).logits, **FLOAT32)


# --- the organising sentence, pair by pair ---------------------------------------------------------------------------------
def matrix(places, length):
    """P and what is mixed, from the map's printed matrix; i - j without a map."""
    if places.positions is None:
        i, j = torch.arange(length, dtype=torch.float64)[:, None], torch.arange(length, dtype=torch.float64)
        return (i - j).masked_fill(j > i, torch.nan)
    return places.positions.relative(length)


def turned_scores(query, keys, distances, theta):
    """⟨R(P·θ)q, k⟩ for keys (n, head_dim) at distances (n,)."""
    (q_a, q_b), (k_a, k_b) = query.chunk(2), keys.chunk(2, -1)
    angle = distances[:, None] * theta
    return (angle.cos() * (q_a * k_a + q_b * k_b) + angle.sin() * (q_a * k_b - q_b * k_a)).sum(-1)


def counted(cope, query, keys):
    """CoPE's bias of one query for the keys it sees, (head_dim,) and (n, head_dim), neither of them turned."""
    gates, added = [1 / (1 + math.exp(-float(key @ query) / math.sqrt(len(query)))) for key in keys], []
    for place in range(len(keys)):
        p = min(sum(gates[place:]), cope.places - 1)
        below, above = (float(query @ cope.table[round(whole)].double()) for whole in (math.floor(p), math.ceil(p)))
        added.append(below + (p - math.floor(p)) * (above - below))
    return torch.tensor(added, dtype=torch.float64)


def attention_by_rows(made, layer, x):
    """The attention of one layer on normed x (length, hidden), in float64, one query of one head at a time."""
    places, length, attention = made.places, len(x), made.decoder.layers[layer].attention
    root = math.sqrt(CONFIG.head_dim)
    parts = (attention.query, attention.key, attention.value)
    query, key, value = (part(x).double().unflatten(-1, (CONFIG.heads, -1)) for part in parts)
    factor = made.factor_for(length)
    theta = places.scaling.inv_freq(factor).double() if places.scaling is not None else torch.zeros(CONFIG.head_dim // 2)
    strength = 1.0 if places.scaling is None else places.scaling.attention_scale(factor) ** 2
    apart, own, bias = matrix(places, length), None, None
    if places.bias is not None:
        own = made.decoder.biases[0 if places.bias.shared else layer]
        bias = None if own.contextual else own(torch.arange(length), torch.arange(length)).double()
    seen = places.pattern.visible(CONFIG.heads, length) if places.pattern is not None else torch.ones(CONFIG.heads, length, length) > 0
    result = torch.zeros(length, CONFIG.heads, CONFIG.head_dim, dtype=torch.float64)
    for head, i in itertools.product(range(CONFIG.heads), range(length)):
        keys = (~apart[i].isnan() & seen[head, i]).nonzero()[:, 0]
        if not len(keys):
            continue
        distances, q, k = apart[i, keys], query[i, head], key[keys, head]
        if isinstance(places.positions, maps.GALI):
            # Between two whole distances lies a mix of their logits; everywhere else a fraction is a distance.
            share = distances - distances.floor()
            scores = (1 - share) * turned_scores(q, k, distances.floor(), theta) + share * turned_scores(q, k, distances.ceil(), theta)
        else:
            scores = turned_scores(q, k, distances, theta)
        scores = strength * scores / root
        if bias is not None:
            scores = scores + bias[head, i, keys]
        elif own is not None:
            scores = scores + counted(own, q, k)
        result[i, head] = scores.softmax(0) @ value[keys, head]
    return attention.out(result.flatten(1).float())


@pytest.mark.parametrize(
    "name",
    ["none", "yarn", "longrope", "clex", *(kind.name for kind in BIASES), *(kind.name for kind in MAPS)]
    + ["s2", "scca_flow", "dilated", "sda", "all four", "cope and rope", "cope, rerope and yarn"],
)
@torch.no_grad()
def test_attention_is_the_organising_sentence_at_every_pair_of_tokens(name):
    # A and CoPE's unturned queries at once.
    both = small.Places(scaling=scaling.YaRN(**GEOMETRY), bias=biases.CoPE, positions=quiet(maps.ReRoPE))
    made, text = model(PLACES.get(name, both)), tokens(1, 24)
    x = made.decoder.embedding(text[0])
    for number, layer in enumerate(made.decoder.layers):
        x = x + attention_by_rows(made, number, layer.attention_norm(x))
        x = x + layer.feed_forward(layer.forward_norm(x)[None])[0]
    torch.testing.assert_close(made.decoder(text)[0], made.decoder.norm(x), **FLOAT32)


@pytest.mark.parametrize("kind", MAPS)
@torch.no_grad()
def test_a_map_is_plain_rope_within_what_it_leaves_alone_and_another_model_beyond(kind):
    plain, mapped, text = model("identity"), model(kind.name), tokens()
    short = text[:, :4]
    torch.testing.assert_close(mapped(short).logits, plain(short).logits, **FLOAT32)
    assert not torch.allclose(mapped(text).logits[:, -1], plain(text).logits[:, -1], atol=1e-4)


@pytest.mark.parametrize("kind", BIASES)
@torch.no_grad()
def test_a_map_within_its_near_window_is_plain_rope_with_every_bias_too(kind):
    plain, short = PLACES[f"{kind.name} and rope"], tokens()[:, :4]
    mapped = dataclasses.replace(plain, positions=quiet(maps.ReRoPE))
    torch.testing.assert_close(model(mapped)(short).logits, model(plain)(short).logits, **FLOAT32)


@pytest.mark.parametrize("name", ["yarn", "rerope"])
@torch.no_grad()
def test_the_strength_of_attention_is_not_rounded_to_half_precision(name):
    made = model(dataclasses.replace(PLACES[name], scaling=scaling.YaRN(**GEOMETRY)))
    turns = made.decoder.reading(tokens(), None, None).turns
    query, key = (torch.randn(2, CONFIG.heads, LENGTH, CONFIG.head_dim, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    plain = dataclasses.replace(turns, scale=torch.ones_like(turns.scale))

    def strength(turns):
        if turns.spans is not None:
            return turns.scores(query.bfloat16(), key.bfloat16()).float().norm() / plain.scores(query.bfloat16(), key.bfloat16()).norm()
        return turns.turned(query.bfloat16()).float().norm() / plain.turned(query.bfloat16()).float().norm()

    # A = 1.0916, which bf16 has as 1.09375, 0.2 % more. Each number is rounded anew, thousands of them together are not.
    power = 1 if turns.spans is None else 2
    assert float(strength(turns)) == pytest.approx(made.places.scaling.attention_scale(LENGTH / WINDOW) ** power, rel=4e-4)


# --- reading a trained model otherwise -------------------------------------------------------------------------------------
@torch.no_grad()
def test_a_model_is_read_with_other_places_and_its_own_weights():
    made, text = model("identity"), tokens()
    yarn, mapped = PLACES["yarn"], PLACES["self_extend"]
    for places in (yarn, mapped, dataclasses.replace(made.places, pattern=sparse.Local.default(LENGTH))):
        other = made.read_with(places)
        assert other.places == places and other.decoder.layers is made.decoder.layers and not other.training
        torch.testing.assert_close(other(text).logits, model(places)(text).logits, **FLOAT32)
    torch.testing.assert_close(made.read_with(yarn)(text[:, :WINDOW]).logits, made(text[:, :WINDOW]).logits, **FLOAT32)
    alibi = model("alibi")
    torch.testing.assert_close(
        alibi.read_with(PLACES["interpolated_alibi"])(text).logits, model("interpolated_alibi")(text).logits, **FLOAT32
    )


@torch.no_grad()
def test_a_learned_bias_goes_along_and_one_that_was_not_learned_is_refused():
    made, text = model("t5"), tokens()
    torch.testing.assert_close(made.read_with(small.Places(bias=biases.T5))(text).logits, made(text).logits, rtol=0, atol=0)
    with pytest.raises(ValueError, match="FIRE has to be learned"):
        made.read_with(small.Places(bias=biases.FIRE))


class Sixteen(biases.CoPE):
    """As the docstring of Places has it: other options are another class."""

    name = "cope_16"

    @classmethod
    def default(cls, *, heads, head_dim, window):
        return cls(heads=heads, head_dim=head_dim, places=16)


def test_other_options_of_a_bias_are_a_subclass_with_a_name_of_its_own(tmp_path):
    made = small.Small(CONFIG, bias=Sixteen)
    assert [len(bias.table) for bias in made.decoder.biases] == [16, 16]
    made.save(tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="cope_16"):
        model("cope").load(tmp_path / "weights.safetensors")


# --- what is refused ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "places,message",
    [
        (dict(scaling=scaling.YaRN), "pass an object such as"),
        (dict(bias=biases.ALiBi(heads=4)), "pass a class of clexlab.biases"),
        (dict(bias=int), "pass a class of clexlab.biases"),
        (dict(positions=quiet(maps.ReRoPE)), "give a scaling too"),
        (dict(scaling=ROPE, positions=maps.GALI.default(WINDOW)), "build the map with noise=None"),
        (dict(scaling=ROPE, positions=maps.ReRoPE.default(2 * WINDOW)), "window of 32 tokens, the model for 16"),
        (dict(scaling=scaling.Identity(head_dim=16, base=1e4, window=WINDOW)), "turns 16 numbers a head"),
        (dict(pattern="s2"), "pattern is 's2'"),
    ],
)
def test_places_that_do_not_fit_are_refused(places, message, unchecked):
    with pytest.raises(ValueError, match=message):
        small.Small(CONFIG, **places)


@pytest.mark.parametrize("sizes", [dict(vocabulary=0), dict(vocabulary=9, heads=3), dict(vocabulary=9, layers=2.5)])
def test_sizes_that_make_no_model_are_refused(sizes, unchecked):
    with pytest.raises(ValueError, match="must be a whole number|same whole part"):
        small.Config(**sizes)


def test_readings_that_it_cannot_do_are_refused():
    made, text = model("rerope"), tokens()
    with pytest.raises(ValueError, match="keeps no keys"):
        made(text, use_cache=True)
    with pytest.raises(ValueError, match="ReRoPE says where tokens stand"):
        made(text, position_ids=torch.arange(LENGTH)[None])
    with pytest.raises(ValueError, match="0 … 49"):
        made(text + 50)
    with pytest.raises(ValueError, match="one unbroken run of ones"):
        made(text, attention_mask=torch.tensor([[1, 0] * 20, [1] * 40]))
    with pytest.raises(ValueError, match="one unbroken run of ones"):
        made(text, attention_mask=torch.zeros_like(text))
    with pytest.raises(ValueError, match="leave logits_to_keep out"):
        made(text, labels=text, logits_to_keep=1)
    with pytest.raises(ValueError, match="logits_to_keep is -1"):
        made(text, logits_to_keep=-1)


def test_masks_and_positions_of_another_size_are_refused(unchecked):
    made, text, places = model("identity"), tokens(), torch.arange(LENGTH)
    for mask in (torch.ones(1, LENGTH), torch.ones(3, LENGTH), torch.ones(2, LENGTH - 1), torch.ones(2, LENGTH + 1), torch.ones(2)):
        with pytest.raises(ValueError, match="one number for every token"):
            made(text, attention_mask=mask)
    for ids in (places.expand(3, -1), places[None, :-1], torch.arange(LENGTH + 1)[None], places):
        with pytest.raises(ValueError, match="give one row for all, or all"):
            made(text, position_ids=ids)


def test_positions_of_packed_texts_are_refused():
    made, text = model("identity"), tokens()
    packed = torch.arange(LENGTH) % (LENGTH // 2)
    for ids in (packed, torch.zeros(LENGTH, dtype=torch.long), torch.arange(LENGTH).flip(0), torch.arange(LENGTH) - 1):
        with pytest.raises(ValueError, match="must rise along every text, from 0 or more"):
            made(text, position_ids=ids[None])
    # In padding anything may stand.
    mask = (torch.arange(LENGTH) < LENGTH // 2).long().expand(2, -1)
    assert bool(made(text, attention_mask=mask, position_ids=packed[None]).logits.isfinite().all())


def test_a_text_beyond_the_paths_limit_is_refused():
    made = small.Small(CONFIG, scaling=scaling.CLEX(**GEOMETRY, max_factor=2.0))
    with pytest.raises(ValueError, match="exceeds window"):
        made(tokens())


def test_weights_of_another_model_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    model("alibi").save(file)
    for other, message in (("none", "the model is"), ("t5", "the model is")):
        with pytest.raises(ValueError, match=message):
            model(other).load(file)
    model("identity").save(file)
    with pytest.raises(ValueError, match="the scaling and the bias it was trained with"):
        model("clex").load(file)
    small.Small(CONFIG, scaling=scaling.CLEX(**GEOMETRY, field=ode.BoundedField(CONFIG.head_dim // 2, hidden=3))).save(file)
    with pytest.raises(ValueError, match="differ in decoder.scaling"):
        model("clex").load(file)
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no file of weights"):
        model("none").load(file)
