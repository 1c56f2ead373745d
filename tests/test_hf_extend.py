"""`clexlab.extend` over every architecture: the layers receive the method's angles, stock transformers agrees, restore is exact."""

import copy
import math

import hf_models
import pytest
import torch
import transformers
from hf_models import MODELS, REFUSED, WINDOW, by_name

import clexlab
from clexlab import hf, scaling

# Logits have a spread of 1. One rounding of θ in float32 is 4e-6 rad at position 70, and two layers of sharp attention make up
# to 1.4e-4 of it (Mixtral, whose experts are weighted too); a wrong θ changes logits by more than 1.
LOGITS = 3e-4
# Angles up to 200 rad in float32 are known to 1e-5; cos and sin follow, times a temperature below 2.
ANGLES = 3e-5
# Pairs turn as (0, 1), (2, 3) … in these; elsewhere as (0, d/2), (1, d/2 + 1) …
INTERLEAVED = ("cohere", "cohere2")
METHODS = (scaling.Linear, scaling.DynamicNTK, scaling.YaRN, scaling.LongRoPE, scaling.CLEX)
MANY = pytest.mark.parametrize("tiny", MODELS, ids=lambda tiny: tiny.name)
FACTOR = 2.5


def matrix(*methods, others=scaling.SCALINGS):
    """Every architecture with these methods, Llama with all others too."""
    llama = by_name("llama")
    pairs = [(tiny, method) for tiny in MODELS for method in methods]
    pairs += [(llama, method) for method in others if method not in methods and method is not scaling.Identity]
    return pytest.mark.parametrize("tiny, method", pairs, ids=[f"{tiny.name}-{method.name}" for tiny, method in pairs])


def method_on(model, method, **options):
    """The method on the model's geometry; CLEX with a field that does something, and reaching 4 windows."""
    path = hf.scaling_for(model, method)
    if method is scaling.CLEX:
        path = scaling.CLEX(head_dim=path.head_dim, base=path.base, window=path.window, **({"max_factor": 4.0} | options))
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for weight in path.field.parameters():
                weight.normal_(0, 0.3, generator=generator)
    return path


@torch.no_grad()
def logits(model, *args, **kwargs):
    return model(*args, **kwargs).logits


def oracle(tiny, path, factor, **build):
    """The stock model with the method's frequencies put into its rotary module's buffers by hand."""
    model = tiny.build(**build)
    rotary = next(module for name, module in model.named_modules() if name.endswith("rotary_emb"))
    prefix = "full_attention_" if hasattr(rotary, "full_attention_inv_freq") else ""
    setattr(rotary, f"{prefix}inv_freq", path.inv_freq(float(factor)).detach())
    setattr(rotary, f"{prefix}attention_scaling", path.attention_scale(float(factor)))
    return model


def close(given, wanted, atol=LOGITS):
    torch.testing.assert_close(given, wanted, rtol=0, atol=atol)


class Seen:
    """Hooks on the attention modules: which cos and sin each layer is given."""

    def __init__(self, model):
        self.given = {}
        self.handles = [
            module.register_forward_pre_hook(self.note(name), with_kwargs=True)
            for name, module in model.named_modules()
            if "Attention" in type(module).__name__
        ]

    def note(self, name):
        def hook(module, args, kwargs):
            if kwargs.get("position_embeddings") is not None:
                self.given[name] = kwargs["position_embeddings"]

        return hook

    def close(self):
        for handle in self.handles:
            handle.remove()


def layers_see(model, **inputs):
    """Every attention layer's (cos, sin) of one forward, by the layer's number."""
    seen = Seen(model)
    try:
        logits(model, **inputs)
    finally:
        seen.close()
    assert len(seen.given) == model.config.num_hidden_layers
    return [seen.given[name] for name in sorted(seen.given, key=lambda name: int("".join(filter(str.isdigit, name))))]


def wanted_angles(tiny, positions, theta, scale):
    """cos and sin of positions·θ times A, in float64, laid out as the architecture's layers read them."""
    angles = positions[..., None].double() * theta.detach().double()
    wide = angles.repeat_interleave(2, -1) if tiny.name in INTERLEAVED else torch.cat((angles, angles), -1)
    return scale * wide.cos(), scale * wide.sin()


def scaled_layers(tiny, model):
    """Numbers of the layers that follow the path: all, except Gemma-3's local ones."""
    count = model.config.num_hidden_layers
    if tiny.name != "gemma3":
        return list(range(count))
    return [index for index in range(count) if model.config.layer_types[index] == "full_attention"]


# --- what a model is ---------------------------------------------------------------------------------------------------


@MANY
def test_the_geometry_is_the_models_own(tiny):
    geometry = hf.geometry(tiny.build())
    assert (geometry.head_dim, geometry.base, geometry.window) == (tiny.rotary_dim, tiny.base, WINDOW)


def test_a_method_is_built_on_the_models_geometry_and_the_window_may_be_the_trained_one():
    model = by_name("phi").build()
    path = hf.scaling_for(model, scaling.YaRN)
    assert (path.head_dim, path.base, path.window) == (8, 1e4, WINDOW)
    assert hf.scaling_for(model, scaling.YaRN, window=16).window == 16


# --- the frequencies -----------------------------------------------------------------------------------------------------


@matrix(scaling.YaRN)
def test_at_factor_one_the_extended_model_is_the_stock_model(tiny, method):
    model, ids = tiny.build(), hf_models.tokens(WINDOW)[0]
    stock = logits(model, ids)
    path = method_on(model, method)
    assert clexlab.extend(model, path, factor=1.0) is model
    close(logits(model, ids), stock)
    clexlab.restore(model)
    # Without a pinned factor, a text within the window needs t = 1.
    clexlab.extend(model, path)
    close(logits(model, ids), stock)


@matrix(scaling.YaRN, scaling.CLEX)
def test_at_a_pinned_factor_logits_are_those_of_the_method_put_in_by_hand(tiny, method):
    model, ids = tiny.build(), hf_models.tokens(70)[0]
    path = method_on(model, method)
    far = logits(model, ids)
    clexlab.extend(model, path, factor=FACTOR)
    given = logits(model, ids)
    close(given, logits(oracle(tiny, path, FACTOR), ids))
    # The comparison means something only where the method changes the logits.
    assert (given - far).abs().max() > 100 * LOGITS


@matrix(scaling.YaRN, scaling.DynamicNTK, scaling.LongRoPE)
def test_at_a_pinned_factor_logits_are_those_of_transformers_own_rope_type(tiny, method):
    model, ids = tiny.build(), hf_models.tokens(70)[0]
    path = method_on(model, method)
    stock_type = path.rope_parameters(FACTOR)
    if tiny.name == "phi3" and stock_type["rope_type"] not in ("default", "longrope"):
        pytest.skip("Phi-3's config takes no other type than default and longrope; put in by hand in the test above")
    own = model.config.rope_parameters
    nested = "full_attention" in own
    parameters = {**own, "full_attention": {**own["full_attention"], **stock_type}} if nested else {**own, **stock_type}
    # The stock longrope type wants a longer limit than the window it scales from, and transformers forgets that Mixtral's
    # head_dim may be None: a fact for whoever exports one.
    changes = {"head_dim": hf_models.HEAD_DIM} if tiny.name == "mixtral" else {}
    stock = tiny.build(window=3 * WINDOW, rope_parameters=copy.deepcopy(parameters), **changes)
    clexlab.extend(model, path, factor=FACTOR)
    close(logits(model, ids), logits(stock, ids))


@matrix(scaling.YaRN)
def test_the_angles_every_layer_receives_are_the_methods(tiny, method):
    model, ids = tiny.build(layers=3), hf_models.tokens(70)[0]
    path = method_on(model, method)
    clexlab.extend(model, path)
    # 70 tokens in windows of 32: t = 3.
    wanted = wanted_angles(tiny, torch.arange(70)[None], path.inv_freq(3.0), path.attention_scale(3.0))
    seen = layers_see(model, input_ids=ids)
    for layer in scaled_layers(tiny, model):
        for given, expected in zip(seen[layer], wanted, strict=True):
            assert given.dtype == torch.float32
            close(given.double(), expected.expand_as(given), ANGLES)


@pytest.mark.parametrize("length", [1, WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1, 100])
@pytest.mark.parametrize(
    "schedule, rule",
    [
        (hf.Whole(), lambda n: float(math.ceil(n / WINDOW))),
        (hf.Doubling(), lambda n: 2.0 ** math.ceil(math.log2(max(1, n / WINDOW)))),
        (hf.Exact(), lambda n: max(1.0, n / WINDOW)),
    ],
    ids=["whole", "doubling", "exact"],
)
def test_an_uncached_text_gets_its_schedules_factor(schedule, rule, length):
    tiny = by_name("llama")
    model, ids = tiny.build(), hf_models.tokens(length)[0]
    path = method_on(model, scaling.YaRN)
    clexlab.extend(model, path, schedule=schedule)
    close(logits(model, ids), logits(oracle(tiny, path, rule(length)), ids))


def test_gemma3s_local_layers_keep_their_own_angles():
    tiny = by_name("gemma3")
    model, ids = tiny.build(layers=3), hf_models.tokens(70)[0]
    before = layers_see(model, input_ids=ids)
    clexlab.extend(model, method_on(model, scaling.YaRN), factor=4.0)
    after = layers_see(model, input_ids=ids)
    assert model.config.layer_types == ["full_attention", "sliding_attention", "full_attention"]
    for layer, kind in enumerate(model.config.layer_types):
        same = all(torch.equal(old, new) for old, new in zip(before[layer], after[layer], strict=True))
        assert same == (kind == "sliding_attention")


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gemma3", "glm"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_frequencies_stay_float32_in_a_bf16_model(name, when):
    tiny = by_name(name)
    model, ids = tiny.build(), hf_models.tokens(100)[0]
    if when == "before":
        model.to(torch.bfloat16)
    path = method_on(model, scaling.YaRN)
    clexlab.extend(model, path)
    if when == "after":
        model.to(torch.bfloat16)
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16
    cos, sin = layers_see(model, input_ids=ids)[-1]
    wanted = wanted_angles(tiny, torch.arange(100)[None], path.inv_freq(4.0), path.attention_scale(4.0))
    for given, expected in zip((cos, sin), wanted, strict=True):
        # One rounding to 8 bits of a value below 2; frequencies in bf16 would be off by 0.3 rad at position 100.
        close(given.double(), expected, 2**-8)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_learned_field_stays_float32_in_a_bf16_model_and_follows_a_cast_to_no_other_precision(when):
    model = by_name("llama").build()
    path = method_on(model, scaling.CLEX)
    theta = path.inv_freq(3.0).detach()
    if when == "before":
        model.to(torch.bfloat16)
    clexlab.extend(model, path)
    if when == "after":
        model.to(torch.bfloat16)
    assert {weight.dtype for weight in hf.rotary_of(model).scaling.parameters()} == {torch.float32}
    assert torch.equal(hf.rotary_of(model).scaling.inv_freq(3.0), theta)


def test_autocast_leaves_the_angles_alone():
    model, ids = by_name("llama").build(), hf_models.tokens(70)[0]
    clexlab.extend(model, method_on(model, scaling.CLEX))
    plain = layers_see(model, input_ids=ids)[0]
    with torch.autocast("cpu", torch.bfloat16):
        cast = layers_see(model, input_ids=ids)[0]
    for given, expected in zip(cast, plain, strict=True):
        close(given.float(), expected, 2**-8)


# --- batches and inputs ----------------------------------------------------------------------------------------------------


@MANY
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_of_a_padded_batch_equal_each_row_alone(tiny, side):
    model = tiny.build()
    clexlab.extend(model, method_on(model, scaling.YaRN))
    rows = hf_models.tokens(20, 45, 90)
    batch = hf_models.pad(rows, side)
    if side == "left":
        # As generate() makes them.
        batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    together = logits(model, **batch)
    for index, row in enumerate(rows):
        real = batch["attention_mask"][index].bool()
        close(together[index][real], logits(model, row)[0])


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_a_padded_batch_equal_each_row_alone_under_every_method(method):
    model = by_name("llama").build()
    clexlab.extend(model, method_on(model, method))
    # The third row reaches exactly the end of the second window, the last needs one token more.
    rows = hf_models.tokens(5, 90, 64, 65)
    batch = hf_models.pad(rows, "right")
    together = logits(model, **batch)
    for index, row in enumerate(rows):
        close(together[index][batch["attention_mask"][index].bool()], logits(model, row)[0])


def test_a_left_padded_batch_without_position_ids_gets_each_rows_factor():
    # Positions are then shifted, which RoPE does not see: only their distances count.
    model = by_name("llama").build()
    clexlab.extend(model, method_on(model, scaling.YaRN))
    rows = hf_models.tokens(20, 90)
    batch = hf_models.pad(rows, "left")
    together = logits(model, **batch)
    for index, row in enumerate(rows):
        close(together[index][batch["attention_mask"][index].bool()], logits(model, row)[0])


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gemma3", "falcon"])
def test_embeddings_positions_and_places_of_arguments_make_no_difference(name):
    model, ids = by_name(name).build(), hf_models.tokens(70)[0]
    clexlab.extend(model, method_on(model, scaling.YaRN))
    wanted = logits(model, ids)
    close(logits(model, input_ids=ids), wanted)
    close(logits(model, inputs_embeds=model.get_input_embeddings()(ids)), wanted)
    close(logits(model, ids, position_ids=torch.arange(70)[None]), wanted)
    close(logits(model, ids, attention_mask=torch.ones_like(ids)), wanted)
    close(logits(model, ids, use_cache=False), wanted)
    close(logits(model, ids.expand(2, -1), position_ids=torch.arange(70)[None])[1:], wanted)


def test_positions_that_start_late_get_the_factor_of_the_last_one():
    tiny = by_name("llama")
    model, ids = tiny.build(), hf_models.tokens(20)[0]
    path = method_on(model, scaling.YaRN)
    clexlab.extend(model, path)
    positions = torch.arange(60, 80)[None]
    close(logits(model, ids, position_ids=positions), logits(oracle(tiny, path, 3.0), ids, position_ids=positions))


def test_the_inner_decoder_is_extended_with_the_model():
    model, ids = by_name("llama").build(), hf_models.tokens(70)[0]
    clexlab.extend(model, method_on(model, scaling.YaRN))
    with torch.no_grad():
        hidden = model.model(ids).last_hidden_state
        close(model.lm_head(hidden), logits(model, ids))


def test_a_decoder_without_a_head_can_be_extended():
    tiny = by_name("llama")
    model, ids = tiny.build(), hf_models.tokens(70)[0]
    path = method_on(model, scaling.YaRN)
    wanted = logits(oracle(tiny, path, 3.0), ids)
    clexlab.extend(model.model, path)
    close(logits(model, ids), wanted)
    clexlab.restore(model.model)


# --- undoing -----------------------------------------------------------------------------------------------------------------


def state(model):
    """Everything of a model that `restore` must bring back: modules, weights, configs, hooks and attributes of instances."""
    return {
        "class": type(model),
        "modules": [(name, id(module), type(module), module.training) for name, module in model.named_modules()],
        "weights": [(name, id(weight), weight.dtype) for name, weight in model.state_dict(keep_vars=True).items()],
        "buffers": [(name, id(buffer)) for name, buffer in model.named_buffers()],
        "attributes": {
            name: sorted((key, len(value) if isinstance(value, dict) and "hook" in key else None) for key, value in vars(module).items())
            for name, module in model.named_modules()
        },
        "configs": [
            (id(module.config), type(module.config), module.config.to_dict()) for module in model.modules() if hasattr(module, "config")
        ],
        "generation": model.generation_config.to_dict(),
    }


@matrix(scaling.YaRN)
def test_restore_brings_everything_back(tiny, method):
    model, ids = tiny.build(), hf_models.tokens(70)[0]
    stock, before = logits(model, ids), copy.deepcopy(state(model))
    clexlab.extend(model, method_on(model, method), cache="refill")
    assert not torch.equal(logits(model, ids), stock)
    model.generate(ids[:, :40], max_new_tokens=3)
    assert clexlab.restore(model) is model
    assert state(model) == before
    assert torch.equal(logits(model, ids), stock)


@pytest.mark.parametrize("cache", [semantics.name for semantics in hf.CACHES])
@pytest.mark.parametrize("factor", [None, 4.0])
def test_restore_brings_everything_back_whatever_was_asked_for(cache, factor):
    model, ids = by_name("llama").build(), hf_models.tokens(40)[0]
    before = copy.deepcopy(state(model))
    clexlab.extend(model, method_on(model, scaling.YaRN), cache=cache, factor=factor, schedule=hf.Doubling())
    model.generate(ids, max_new_tokens=3)
    clexlab.restore(model)
    assert state(model) == before


@pytest.mark.parametrize("cache", [semantics.name for semantics in hf.CACHES])
def test_extending_leaves_train_and_eval_mode_and_the_random_state_alone(cache):
    model = by_name("llama").build()
    model.train()
    model.model.layers[0].eval()
    before, seed = copy.deepcopy(state(model)), torch.get_rng_state()
    modes = [(name, module.training) for name, module in model.named_modules()]
    clexlab.extend(model, method_on(model, scaling.YaRN), cache=cache)
    assert set(modes) <= {(name, module.training) for name, module in model.named_modules()} | {("model.rotary_emb", True)}
    clexlab.restore(model)
    assert state(model) == before
    assert torch.equal(torch.get_rng_state(), seed)


def test_a_with_block_restores_on_the_way_out_and_after_an_error():
    model, ids = by_name("llama").build(), hf_models.tokens(70)[0]
    stock, before = logits(model, ids), copy.deepcopy(state(model))
    with clexlab.extended(model, method_on(model, scaling.YaRN)) as inner:
        assert inner is model
        assert not torch.equal(logits(model, ids), stock)
    assert state(model) == before
    with pytest.raises(RuntimeError, match="of the block"), clexlab.extended(model, method_on(model, scaling.YaRN)):
        raise RuntimeError("of the block")
    assert state(model) == before
    assert torch.equal(logits(model, ids), stock)


def test_an_extended_model_is_not_extended_again_and_keeps_its_method():
    model, ids = by_name("llama").build(), hf_models.tokens(70)[0]
    path = method_on(model, scaling.YaRN)
    clexlab.extend(model, path, factor=3.0)
    wanted = logits(model, ids)
    with pytest.raises(ValueError, match="restore"):
        clexlab.extend(model, path)
    with pytest.raises(ValueError, match="restore"), clexlab.extended(model, path):
        pass
    assert torch.equal(logits(model, ids), wanted)
    clexlab.restore(model)
    with pytest.raises(ValueError, match="not extended"):
        clexlab.restore(model)
    with pytest.raises(ValueError, match="not extended"):
        hf.rotary_of(model)


def test_models_are_extended_one_by_one_and_another_of_the_same_class_stays_stock():
    first, second = by_name("llama").build(), by_name("llama").build()
    ids = hf_models.tokens(70)[0]
    stock = logits(second, ids)
    clexlab.extend(first, method_on(first, scaling.YaRN))
    assert torch.equal(logits(second, ids), stock)
    assert torch.equal(second.generate(ids, max_new_tokens=4), by_name("llama").build().generate(ids, max_new_tokens=4))


def test_a_config_shared_by_two_models_stays_stock_for_the_other():
    first = by_name("llama").build()
    second = type(first)(first.config)
    before = first.config.to_dict()
    with clexlab.extended(first, hf.scaling_for(first, scaling.YaRN)):
        assert second.config.to_dict() == before and "clexlab" in first.config.rope_parameters
        clexlab.extend(second, hf.scaling_for(second, scaling.Linear))
        assert first.config.rope_parameters["clexlab"]["scaling"]["name"] == "yarn"
        clexlab.restore(second)
    assert first.config is second.config and first.config.to_dict() == before


def test_a_setting_made_on_the_config_meanwhile_survives_restore():
    model = by_name("llama").build()
    with clexlab.extended(model, hf.scaling_for(model, scaling.YaRN)):
        model.config.use_cache = False
    assert model.config.use_cache is False and model.config.rope_parameters["rope_type"] == "default"


def test_a_model_with_its_decoders_config_inside_another_is_marked_there_too():
    inner = by_name("gemma3").make_config()
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = sizes | {"image_size": 28, "patch_size": 14}
    config = transformers.Gemma3Config(text_config=inner, vision_config=vision, mm_tokens_per_image=4)
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    before = config.to_dict()
    with clexlab.extended(model, hf.scaling_for(model, scaling.YaRN)):
        assert "clexlab.load" in model.config.text_config.rope_parameters["full_attention"]["rope_type"]
        assert model.config.text_config is hf.rotary_of(model).config
        assert config.to_dict() == before
    assert model.config is config and config.to_dict() == before


def test_a_failed_forward_leaves_nothing_behind():
    model = by_name("llama").build()
    path = hf.scaling_for(model, scaling.CLEX)
    clexlab.extend(model, path)
    handle = model.model.layers[0].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(torch.arange(2, 60)[None])
    handle.remove()
    assert hf.rotary_of(model).running.angles is None
    copied = copy.deepcopy(model)
    torch.testing.assert_close(copied(torch.arange(2, 60)[None]).logits, model(torch.arange(2, 60)[None]).logits, rtol=0, atol=0)


def test_a_copy_of_an_extended_model_is_extended_by_itself():
    model, ids = by_name("llama").build(), hf_models.tokens(70)[0]
    stock = logits(model, ids)
    clexlab.extend(model, method_on(model, scaling.CLEX))
    wanted = logits(model, ids)
    twin = copy.deepcopy(model)
    clexlab.restore(model)
    assert torch.equal(logits(model, ids), stock)
    assert torch.equal(logits(twin, ids), wanted)
    # The twin's generate is its own too.
    assert torch.equal(twin.generate(ids, max_new_tokens=4), twin.generate(ids, max_new_tokens=4, use_cache=False))
    clexlab.restore(twin)
    assert torch.equal(logits(twin, ids), stock)


def test_what_was_asked_for_can_be_read_back():
    model = by_name("llama").build()
    path = method_on(model, scaling.YaRN)
    clexlab.extend(model, path, cache=hf.Rerotate, schedule=hf.Doubling())
    rotary = hf.rotary_of(model)
    assert isinstance(rotary, hf.Rotary)
    assert (rotary.scaling, rotary.cache, rotary.factor, rotary.schedule) == (path, hf.Rerotate, None, hf.Doubling())
    assert rotary.positions is None
    assert [semantics.name for semantics in hf.CACHES] == ["frozen", "rerotate", "refill"]
    assert all(semantics.__doc__ for semantics in hf.CACHES)


@pytest.mark.parametrize("name", ["llama", "phi3", "gemma3"])
def test_the_config_of_an_extended_model_says_what_it_is_and_that_clexlab_loads_it(name):
    model = by_name(name).build()
    clexlab.extend(model, method_on(model, scaling.YaRN), cache="rerotate", factor=2.0)
    parameters = model.config.rope_parameters
    parameters = parameters.get("full_attention", parameters)
    assert "clexlab.load" in parameters["rope_type"]
    assert parameters["rope_theta"] == by_name(name).base
    assert parameters["clexlab"]["cache"] == "rerotate" and parameters["clexlab"]["factor"] == 2.0


# --- refusals ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.name)
def test_models_that_cannot_be_extended_are_refused_and_left_alone(refused):
    model = refused.build()
    before = copy.deepcopy(state(model))
    with pytest.raises(ValueError) as said:
        clexlab.extend(model, scaling.YaRN(head_dim=16, base=1e4, window=WINDOW))
    assert all(word in str(said.value) for word in refused.says)
    with pytest.raises(ValueError):
        hf.geometry(model)
    assert state(model) == before


@pytest.mark.parametrize(
    "options, words",
    [
        ({"head_dim": 32}, ("head_dim", "32", "16", "scaling_for")),
        ({"base": 5e5}, ("base", "500000", "10000", "scaling_for")),
    ],
)
def test_a_path_of_another_geometry_is_refused(options, words):
    model = by_name("llama").build()
    before = copy.deepcopy(state(model))
    with pytest.raises(ValueError) as said:
        clexlab.extend(model, scaling.YaRN(**({"head_dim": 16, "base": 1e4, "window": WINDOW} | options)))
    assert all(word in str(said.value) for word in words)
    assert state(model) == before


@pytest.mark.parametrize("name", ["phi", "gpt_neox"])
def test_the_whole_head_is_not_the_rotary_part(name):
    with pytest.raises(ValueError, match="head_dim 16"):
        clexlab.extend(by_name(name).build(), scaling.YaRN(head_dim=16, base=1e4, window=WINDOW))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"cache": "fresh"}, ("fresh", "frozen", "rerotate", "refill")),
        ({"factor": 0.5}, ("0.5", "1")),
        ({"factor": float("nan")}, ("nan",)),
        ({"factor": float("inf")}, ("inf",)),
        ({"factor": 5.0}, ("5", "4", "max_factor")),
    ],
)
def test_bad_options_are_refused_and_the_model_left_alone(options, words):
    model = by_name("llama").build()
    before = copy.deepcopy(state(model))
    with pytest.raises(ValueError) as said:
        clexlab.extend(model, method_on(model, scaling.CLEX), **options)
    assert all(word in str(said.value) for word in words)
    assert state(model) == before


@pytest.mark.parametrize(
    "arguments, options",
    [
        (("yarn",), {}),
        ((None,), {}),
        ((scaling.YaRN,), {}),
        ((), {"cache": 3}),
        ((), {"cache": None}),
        ((), {"factor": "2"}),
        ((), {"factor": True}),
        ((), {"factor": torch.tensor([1.0, 2.0])}),
        ((), {"schedule": "whole"}),
        ((), {"schedule": hf.Whole}),
        ((), {"positions": "random"}),
    ],
)
def test_values_of_the_wrong_type_are_refused_when_they_are_given(arguments, options, unchecked):
    model = by_name("llama").build()
    before = copy.deepcopy(state(model))
    with pytest.raises(ValueError):
        clexlab.extend(model, *(arguments or (method_on(model, scaling.YaRN),)), **options)
    assert state(model) == before


@pytest.mark.parametrize("thing", [torch.nn.Linear(2, 2), None, "llama"], ids=["linear", "none", "name"])
def test_what_is_no_model_is_refused(thing, unchecked):
    with pytest.raises(ValueError):
        clexlab.extend(thing, scaling.YaRN(head_dim=16, base=1e4, window=WINDOW))
    with pytest.raises(ValueError):
        clexlab.restore(thing)


@pytest.mark.parametrize("schedule", hf.SCHEDULES)
def test_a_text_beyond_the_largest_factor_is_refused_and_the_longest_allowed_is_not(schedule):
    model = by_name("llama").build()
    clexlab.extend(model, method_on(model, scaling.CLEX, max_factor=3.0), schedule=schedule())
    logits(model, hf_models.tokens(3 * WINDOW)[0])
    with pytest.raises(ValueError) as said:
        logits(model, hf_models.tokens(3 * WINDOW + 1)[0])
    assert all(word in str(said.value) for word in (str(3 * WINDOW + 1), str(3 * WINDOW), "max_factor"))
    # The refusal leaves nothing behind.
    logits(model, hf_models.tokens(20)[0])


def test_one_row_of_a_batch_beyond_the_largest_factor_is_refused():
    model = by_name("llama").build()
    clexlab.extend(model, method_on(model, scaling.CLEX, max_factor=2.0))
    with pytest.raises(ValueError, match="max_factor"):
        logits(model, **hf_models.pad(hf_models.tokens(20, 65), "right"))
