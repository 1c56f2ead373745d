"""Ways to call an extended model that are rare and must not be silently wrong: threads, gaps, long masks, modes, nested runs."""

import threading

import hf_models
import numpy
import pytest
import torch
from test_hf_cache import LOGITS, L, in_parts, make
from test_hf_extend import close, method_on
from transformers import DynamicCache, StaticCache

import clexlab
from clexlab import hf, positions, scaling

# --- threads -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", ["frozen", "rerotate"])
def test_two_threads_that_generate_on_one_model_write_what_each_writes_alone(cache):
    model, _ = make("llama", cache=cache)
    asked = [(hf_models.tokens(10)[0], 5), (hf_models.tokens(15, seed=4)[0], 45)]
    wanted = [model.generate(ids, max_new_tokens=new) for ids, new in asked]
    failures = []

    def work(index):
        ids, new = asked[index]
        for _ in range(6):
            try:
                if not torch.equal(model.generate(ids, max_new_tokens=new), wanted[index]):
                    failures.append(f"thread {index} wrote another text")
            except ValueError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# --- positions and masks -----------------------------------------------------------------------------------------------------


def test_keys_at_positions_with_gaps_are_turned_by_the_positions_they_have():
    model, _ = make("llama", layers=1, cache="rerotate")
    ids = hf_models.tokens(17)[0]
    places = torch.cat([torch.arange(6), torch.arange(10, 21)])[None]
    with torch.no_grad():
        whole = model(ids, position_ids=places, attention_mask=torch.ones_like(ids), use_cache=False).logits
        store = model(ids[:, :12], position_ids=places[:, :12], attention_mask=torch.ones(1, 12)).past_key_values
        given = model(ids[:, 12:], position_ids=places[:, 12:], past_key_values=store).logits
    close(given[0], whole[0, 12:], LOGITS)


def test_a_second_turn_behind_padding_is_turned_right():
    # Rows of 5 and 9 tokens, padded on the right before a second turn of 9 tokens each: slots are not positions.
    model, _ = make("llama", layers=1, cache="rerotate")
    first, second = hf_models.tokens(5, 9), hf_models.tokens(9, 9, seed=5)
    padded, store = hf_models.pad(first, side="right"), DynamicCache()
    counts = torch.tensor([[5], [9]])
    with torch.no_grad():
        model(**padded, position_ids=torch.arange(9)[None].expand(2, -1), past_key_values=store)
        mask = torch.cat([padded["attention_mask"], torch.ones(2, 9, dtype=torch.long)], 1)
        given = model(torch.cat(second), attention_mask=mask, position_ids=counts + torch.arange(9), past_key_values=store).logits
        for row in range(2):
            alone = model(torch.cat([first[row], second[row]], 1), use_cache=False).logits[0, -9:]
            close(given[row], alone, LOGITS)


def test_a_mask_that_reaches_beyond_the_tokens_is_read_as_far_as_they_go():
    model, _ = make("llama")
    batch = hf_models.pad(hf_models.tokens(10, 40))
    longer = torch.nn.functional.pad(batch["attention_mask"], (0, 60))
    with torch.no_grad():
        wanted = model(**batch).logits
        given = model(batch["input_ids"], attention_mask=longer, past_key_values=StaticCache(config=model.config, max_cache_len=100)).logits
    close(given[0, -10:], wanted[0, -10:], LOGITS)


def test_a_mask_that_ends_before_the_tokens_is_refused():
    model, _ = make("llama")
    with pytest.raises(ValueError, match="7 places for 0 cached and 10 new"):
        model(hf_models.tokens(10)[0], attention_mask=torch.ones(1, 7))


def test_a_batch_of_packed_and_of_gapped_rows_is_refused():
    model, _ = make("llama")
    packed, gapped = torch.cat([torch.arange(6), torch.arange(6)]), torch.cat([torch.arange(6), torch.arange(9, 15)])
    ids = torch.cat(hf_models.tokens(12, 12))
    with pytest.raises(ValueError, match="attention_mask"):
        model(ids, position_ids=torch.stack([packed, gapped]), use_cache=False)
    model(ids, position_ids=torch.stack([packed, gapped]), attention_mask=torch.ones_like(ids), use_cache=False)


def test_keys_put_into_a_cache_by_hand_are_not_turned_by_guess():
    model, _ = make("llama", cache="rerotate")
    with torch.no_grad():
        store = model(hf_models.tokens(5)[0]).past_key_values
        for layer in store.layers:
            layer.keys, layer.values = (torch.cat([each, each, each], 2) for each in (layer.keys, layer.values))
        with pytest.raises(ValueError, match="by hand"):
            model(hf_models.tokens(4)[0], past_key_values=store)


def test_a_cropped_cache_forgets_where_the_cropped_keys_stood():
    model, _ = make("llama", layers=1, cache="rerotate")
    ids = hf_models.tokens(30)[0]
    with torch.no_grad():
        store = model(ids[:, :10]).past_key_values
        in_parts(model, torch.cat(hf_models.tokens(5, seed=9), 1), (1, 1, 3), store)
        store.crop(-4)
        store.crop(-1)
        given = torch.cat(in_parts(model, ids[:, 10:], (1, 3, 1, 15), store), 1)
        close(given[0, -15:], model(ids, use_cache=False).logits[0, -15:], LOGITS)


# --- modes -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_cache", [True, False])
def test_generate_in_train_mode_draws_no_positions(use_cache):
    model, _ = make("llama", scaling.CLEX, positions=positions.Scattered(window=L, factors=positions.WholeFactors(8)))
    ids = hf_models.tokens(12)[0]
    wanted = model.generate(ids, max_new_tokens=20)
    model.train()
    assert torch.equal(model.generate(ids, max_new_tokens=20, use_cache=use_cache), wanted)


def test_keys_made_under_inference_mode_can_be_turned_outside_it():
    model, _ = make("llama", layers=1, cache="rerotate")
    ids = hf_models.tokens(24)[0]
    with torch.inference_mode():
        store = model(ids[:, :14]).past_key_values
    with torch.no_grad():
        given = model(ids[:, 14:].clone(), past_key_values=store).logits
        close(given[0], model(ids, use_cache=False).logits[0, 14:], LOGITS)


# --- runs inside runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["another model", "early exit"])
def test_an_extended_assistant_serves_a_text_of_many_rounds(kind):
    model, _ = make("llama", layers=3)
    # A text that repeats itself, so that guesses are sometimes right.
    ids = torch.cat([hf_models.tokens(6, seed=7)[0]] * 3, 1)
    wanted = model.generate(ids, max_new_tokens=80)
    helper = {"assistant_model": make("llama", layers=1)[0]} if kind == "another model" else {"assistant_early_exit": 1}
    assert torch.equal(model.generate(ids, max_new_tokens=80, **helper), wanted)
    if "assistant_model" in helper:
        running = hf.rotary_of(helper["assistant_model"]).running
        assert (running.planned, running.floor) == (None, 0)


def test_refill_says_that_a_long_prompt_cannot_come_in_chunks():
    model, _ = make("llama", cache="refill")
    with pytest.raises(ValueError, match="prefill_chunk_size"):
        model.generate(hf_models.tokens(40)[0], max_new_tokens=5, prefill_chunk_size=7)


# --- extending and restoring -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [numpy.float32(2.5), torch.tensor(2.5), 2])
def test_any_number_pins_the_factor_and_can_be_saved(factor, tmp_path, unchecked):
    model, _ = make("llama", factor=factor)
    assert hf.rotary_of(model).factor == float(factor)
    model.save_pretrained(tmp_path)
    assert hf.rotary_of(clexlab.load(tmp_path)).factor == float(factor)


@pytest.mark.parametrize(
    "sampler",
    [
        positions.Scattered(window=4 * L, factors=positions.WholeFactors(8)),
        positions.Scattered(window=L, factors=positions.WholeFactors(64)),
    ],
    ids=["window", "limit"],
)
def test_a_sampler_built_on_other_numbers_than_the_path_is_refused(sampler):
    with pytest.raises(ValueError, match="same numbers"):
        make("llama", scaling.CLEX, positions=sampler)


def test_restoring_a_part_of_the_model_restores_all_of_it():
    model, _ = make("llama")
    clexlab.restore(model.model)
    assert "generate" not in model.__dict__ and model.config.rope_parameters["rope_type"] == "default"
    model.generate(hf_models.tokens(5)[0], max_new_tokens=2)


def test_an_interrupt_while_extending_leaves_the_model_stock(monkeypatch):
    model = hf_models.by_name("llama").build()

    def interrupt(rotary, decoder):
        raise KeyboardInterrupt

    monkeypatch.setattr(hf.Frozen, "prepare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        clexlab.extend(model, method_on(model, scaling.YaRN))
    with pytest.raises(ValueError, match="not extended"):
        hf.rotary_of(model)


def test_a_with_block_that_restores_or_extends_anew_is_left_alone():
    model = hf_models.by_name("llama").build()
    path = method_on(model, scaling.YaRN)
    with pytest.raises(RuntimeError, match="of the block"), clexlab.extended(model, path):
        clexlab.restore(model)
        raise RuntimeError("of the block")
    with clexlab.extended(model, path):
        clexlab.restore(model)
        clexlab.extend(model, path, factor=2.0)
    assert hf.rotary_of(model).factor == 2.0


def test_what_two_models_set_on_a_shared_config_is_kept_by_restore():
    first = hf_models.by_name("llama").build()
    second = type(first)(first.config)
    clexlab.extend(first, method_on(first, scaling.YaRN))
    second.config.use_cache = False
    first.config.pad_token_id = 7
    clexlab.restore(first)
    assert first.config is second.config and (first.config.use_cache, first.config.pad_token_id) == (False, 7)
