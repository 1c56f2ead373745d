import math

import byte_tokenizer
import hf_models
import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

from clexlab import evaluation, hf, results, scaling
from clexlab.corpora import Document
from clexlab.evaluation import prefill

WINDOW = 16


def documents(*sizes, seed=0):
    return [row[0] for row in hf_models.tokens(*sizes, seed=seed)]


@pytest.fixture(scope="module")
def llama():
    return hf_models.by_name("llama").build(window=WINDOW)


class ByToken(nn.Module):
    """A model whose loss depends on the target token alone, and which remembers what it was given to read."""

    def __init__(self, vocabulary):
        super().__init__()
        self.embeddings = nn.Embedding(vocabulary, 1)
        generator = torch.Generator().manual_seed(7)
        self.log_probabilities = torch.randn(vocabulary, generator=generator).log_softmax(0)
        self.read = []

    def get_input_embeddings(self):
        return self.embeddings

    def forward(self, input_ids, use_cache):
        self.read += list(input_ids)
        return type("Output", (), {"logits": self.log_probabilities.expand(*input_ids.shape, -1)})()


# ------------------------------------------------------------------------------------------------ the same target tokens


def test_the_last_targets_are_the_same_tokens_at_every_length():
    text = torch.randperm(200)  # every token once, so that its loss names it
    model = ByToken(200)
    result = evaluation.loss_by_length(model, [text], WINDOW, (1, 2, 4, 8))
    end = 8 * WINDOW + 1
    by_token = -model.log_probabilities.double()
    assert [row.length for row in result.rows] == [16, 32, 64, 128]
    for row in result.rows:
        assert row.last == pytest.approx(by_token[text[end - WINDOW // 4 : end]].mean().item(), abs=1e-6)
        assert row.whole == pytest.approx(by_token[text[end - row.length : end]].mean().item(), abs=1e-6)
    # What is read ends just before the last target, whatever the length.
    for row, read in zip(result.rows, model.read, strict=True):
        assert torch.equal(read, text[end - 1 - row.length : end - 1])


@pytest.mark.parametrize("name", ["llama", "gemma2", "cohere", "gpt_neox"])
def test_the_loss_is_that_of_a_loop_that_predicts_one_token_at_a_time(name):
    model = hf_models.by_name(name).build(window=WINDOW)
    text = documents(3 * WINDOW)[0]
    result = evaluation.loss_by_length(model, [text], WINDOW, (1, 2))
    end = 2 * WINDOW + 1
    for row in result.rows:
        losses = []
        for target in range(end - row.length, end):
            with torch.no_grad():
                logits = model(text[end - 1 - row.length : target][None]).logits[0, -1].double()
            losses.append(logits.logsumexp(0).item() - logits[text[target]].item())
        # Float32 attention over other lengths rounds otherwise: some 1e-6 for logits of a few units.
        assert row.last == pytest.approx(sum(losses[-WINDOW // 4 :]) / (WINDOW // 4), abs=2e-5)
        assert row.whole == pytest.approx(sum(losses) / len(losses), abs=2e-5)


@pytest.mark.parametrize("tiny", hf_models.MODELS, ids=lambda tiny: tiny.name)
def test_chunks_of_logits_give_what_all_logits_at_once_give_on_every_architecture(tiny, monkeypatch):
    monkeypatch.setattr(prefill, "LOGITS", 5 * 2 * hf_models.VOCABULARY)  # five positions at a time
    model, texts = tiny.build(window=WINDOW), documents(40, 50)
    result = evaluation.loss_by_length(model, texts, WINDOW, (2,))
    with torch.no_grad():
        logits = model(torch.stack([text[:32] for text in texts])).logits
    targets = torch.stack([text[1:33] for text in texts])
    whole = nn.functional.cross_entropy(logits.mT, targets, reduction="none").mean(1)
    assert result.at(2).whole_by_document == pytest.approx(whole.tolist(), abs=1e-5)


def test_the_layers_run_once_for_all_chunks(llama, monkeypatch):
    monkeypatch.setattr(prefill, "LOGITS", hf_models.VOCABULARY)
    calls = []
    handle = llama.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    try:
        evaluation.loss_by_length(llama, documents(20), WINDOW, (1,))
    finally:
        handle.remove()
    assert len(calls) == 1


def test_no_more_logits_than_allowed_are_ever_held_at_once(llama, monkeypatch):
    monkeypatch.setattr(prefill, "LOGITS", 1000)
    sizes = []
    handle = llama.lm_head.register_forward_hook(lambda module, given, output: sizes.append(output.numel()))
    try:
        evaluation.loss_by_length(llama, documents(130, 140), WINDOW, (1, 8))
    finally:
        handle.remove()
    assert 500 < max(sizes) <= 1000 and sum(sizes) == 2 * (16 + 128) * hf_models.VOCABULARY


def test_documents_of_any_whole_number_type_are_taken(llama):
    text = documents(40)[0]
    mixed = evaluation.loss_by_length(llama, [text, text.int(), text.to(torch.uint8)], WINDOW, (2,))
    assert len(set(mixed.at(2).last_by_document)) == 1


def test_the_result_does_not_depend_on_the_batch(llama):
    texts = documents(70, 80, 66, 90, 65)
    one, many = (evaluation.loss_by_length(llama, texts, WINDOW, (1, 4), batch=batch) for batch in (1, 4))
    for row, other in zip(one.rows, many.rows, strict=True):
        assert row.last_by_document == pytest.approx(other.last_by_document, abs=1e-5)


def test_factor_one_is_truncation_to_the_last_window(llama):
    text = documents(4 * WINDOW + 1)[0]
    result = evaluation.loss_by_length(llama, [text], WINDOW, (1, 4))
    truncated = evaluation.loss_by_length(llama, [text[-WINDOW - 1 :]], WINDOW, (1,))
    assert result.at(1).last == pytest.approx(truncated.at(1).last, abs=1e-6)


def test_short_documents_are_counted_and_serve_no_length(llama):
    texts = documents(64, 65, 10, 200)
    result = evaluation.loss_by_length(llama, texts, WINDOW, (4, 1))
    assert (result.documents, result.too_short, result.last_targets) == (2, 2, 8)
    assert all(len(row.last_by_document) == len(row.whole_by_document) == 2 for row in result.rows)
    assert result.tokens == 2 * (16 + 64)


def test_the_spread_is_the_standard_error_over_documents():
    row = evaluation.LengthLoss(factor=1.0, length=4, scale=1.0, last_by_document=(1.0, 3.0), whole_by_document=(1.0, 2.0))
    assert (row.last, row.whole) == (2.0, 1.5)
    assert row.last_error == pytest.approx(math.sqrt(2) / math.sqrt(2))


def test_a_start_token_takes_the_first_place_and_moves_no_target():
    text = torch.arange(1, 40)
    model = ByToken(50)
    plain = evaluation.loss_by_length(model, [text], WINDOW, (1, 2))
    with_start = evaluation.loss_by_length(model, [text], WINDOW, (1, 2), start=0)
    assert plain == with_start
    for before, after in zip(model.read[:2], model.read[2:], strict=True):
        assert after[0] == 0 and torch.equal(before[1:], after[1:])


# ------------------------------------------------------------------------------------------------ extended models


def test_each_length_gets_the_factor_of_the_models_own_rule(llama):
    texts = documents(100)
    path = hf.scaling_for(llama, scaling.YaRN)
    for schedule, scales in ((hf.Whole(), [1, 2, 3, 4]), (hf.Doubling(), [1, 2, 4, 4]), (hf.Exact(), [1, 1.5, 2.5, 4])):
        with hf.extended(llama, path, schedule=schedule):
            result = evaluation.loss_by_length(llama, texts, WINDOW, (1, 1.5, 2.5, 4))
        assert [row.scale for row in result.rows] == scales
    with hf.extended(llama, path, factor=8.0):
        assert [row.scale for row in evaluation.loss_by_length(llama, texts, WINDOW, (1, 2)).rows] == [8.0, 8.0]
    assert [row.scale for row in evaluation.loss_by_length(llama, texts, WINDOW, (1, 2)).rows] == [1.0, 1.0]


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("method", [scaling.Linear, scaling.YaRN, scaling.LongRoPE], ids=lambda method: method.name)
def test_an_extended_model_measures_what_stock_transformers_measures_at_that_factor(llama, method, factor):
    path = hf.scaling_for(llama, method)
    config = hf_models.by_name("llama").make_config(window=WINDOW, rope_parameters=path.rope_parameters(float(factor)))
    stock = LlamaForCausalLM(config).eval()
    stock.load_state_dict(llama.state_dict())
    texts = documents(80, 90)
    with hf.extended(llama, path):
        ours = evaluation.loss_by_length(llama, texts, WINDOW, (factor,))
    theirs = evaluation.loss_by_length(stock, texts, WINDOW, (factor,))
    assert ours.at(factor).last == pytest.approx(theirs.at(factor).last, abs=1e-4)
    assert ours.at(factor).scale == factor


def test_a_length_beyond_the_path_is_refused_before_anything_is_measured(llama):
    path = scaling.CLEX(head_dim=16, base=1e4, window=WINDOW, max_factor=2.0)
    with hf.extended(llama, path), pytest.raises(ValueError, match="max_factor"):
        evaluation.loss_by_length(llama, documents(100), WINDOW, (1, 4), progress=lambda *_: pytest.fail("measured"))


# ------------------------------------------------------------------------------------------------ the model afterwards


def test_training_mode_is_suspended_and_comes_back_module_by_module():
    model = hf_models.by_name("llama").build(window=WINDOW, attention_dropout=0.5)
    expected = evaluation.loss_by_length(model, documents(40), WINDOW, (2,))
    model.train()
    model.lm_head.eval()
    assert evaluation.loss_by_length(model, documents(40), WINDOW, (2,)) == expected
    assert model.training and model.model.layers[0].training and not model.lm_head.training
    assert "forward" not in vars(model.model)


def test_no_gradient_is_kept_and_an_error_leaves_the_model_as_it_was(llama):
    llama.train()

    def fail(*_):
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            evaluation.loss_by_length(llama, documents(40), WINDOW, (2,), progress=fail)
        assert llama.training and torch.is_grad_enabled() and "forward" not in vars(llama.model)
    finally:
        llama.eval()
    assert all(parameter.grad is None for parameter in llama.parameters())


def test_progress_counts_tokens_up_to_the_total(llama):
    calls = []
    result = evaluation.loss_by_length(llama, documents(40, 50, 60), WINDOW, (1, 2), batch=2, progress=lambda *call: calls.append(call))
    assert calls == [(32, 144), (48, 144), (112, 144), (144, 144)] and result.tokens == 144


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokens": []}, "longest of 0 has 0 tokens, the largest factor needs 33"),
        ({"tokens": [torch.zeros(32, dtype=torch.long)]}, "longest of 1 has 32 tokens, the largest factor needs 33"),
        ({"tokens": [torch.full((40,), 99)]}, "token 99 is outside the model's vocabulary of 99"),
        ({"tokens": [torch.full((40,), -1)]}, "token -1 is outside"),
        ({"start": 100}, "token 100 is outside"),
        ({"window": 3}, "window is 3"),
        ({"window": 16.5}, "window is 16.5"),
        ({"factors": ()}, "factors is empty"),
        ({"factors": (0.5,)}, "factor is 0.5"),
        ({"factors": (math.nan,)}, "factor is nan"),
        ({"factors": (math.inf,)}, "factor is inf"),
        ({"factors": (2, 2.0)}, "factor 2 is given twice"),
        ({"factors": (1.3,)}, "20.8, no whole number"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(llama, unchecked, change, words):
    arguments = {"tokens": documents(40), "window": WINDOW, "factors": (1, 2)} | change
    with pytest.raises(ValueError, match=words):
        evaluation.loss_by_length(llama, **arguments)


def test_a_loss_that_is_not_finite_is_refused_with_its_length():
    model = hf_models.by_name("llama").build(window=WINDOW)
    model.lm_head.weight.data[3] = math.nan
    with pytest.raises(ValueError, match="not finite at 16 tokens"):
        evaluation.loss_by_length(model, documents(40), WINDOW, (1,))


def test_an_unmeasured_factor_is_refused_with_the_measured_ones(llama):
    with pytest.raises(ValueError, match="there are 1, 2"):
        evaluation.loss_by_length(llama, documents(40), WINDOW, (2, 1)).at(4)


# ------------------------------------------------------------------------------------------------ text to tokens


def texts(*sizes):
    return [Document(f"{index}.txt", chr(97 + index) * size) for index, size in enumerate(sizes)]


def test_a_sample_holds_whole_documents_in_an_order_of_the_seed():
    tokenizer, many = byte_tokenizer.build(), texts(50, 9, 60, 70, 10, 80)

    def draw(seed, count=2):
        return evaluation.sample(many, tokenizer, 10, count, torch.Generator().manual_seed(seed))

    one = draw(0)
    assert one.names == draw(0).names and len(one.names) == 2 and len({draw(seed).names for seed in range(20)}) > 1
    by_name = {document.name: document.text for document in many}
    for name, tokens in zip(one.names, one.tokens, strict=True):
        assert tokenizer.decode(tokens) == by_name[name]
    everything = draw(0, 100)
    assert sorted(everything.names) == ["0.txt", "2.txt", "3.txt", "5.txt"]
    assert (everything.too_short, everything.looked_at) == (2, 6)


def test_a_sample_of_texts_that_are_too_short_is_refused_with_the_numbers(generator):
    with pytest.raises(ValueError, match="longest of 2 has 9 tokens.* 11 are needed"):
        evaluation.sample(texts(9, 5), byte_tokenizer.build(), 10, 1, generator)
    with pytest.raises(ValueError, match="longest of 0"):
        evaluation.sample([], byte_tokenizer.build(), 10, 1, generator)
    with pytest.raises(ValueError, match="count is 0"):
        evaluation.sample(texts(50), byte_tokenizer.build(), 10, 0, generator)


def test_long_texts_warn_of_nothing(generator, capfd):
    tokenizer = byte_tokenizer.build()
    tokenizer.model_max_length = 8
    evaluation.sample(texts(5000), tokenizer, 10, 1, generator)
    assert capfd.readouterr() == ("", "")


def test_the_start_token_is_what_the_tokenizer_puts_before_a_text():
    assert evaluation.start_token(byte_tokenizer.build()) is None
    assert evaluation.start_token(byte_tokenizer.build(["<s>"])) is None
    assert evaluation.start_token(byte_tokenizer.build(["<s>"], "<s>")) == 256


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(llama):
    with pytest.raises(ValueError, match="tokenizer has 256 tokens, the model 99"):
        evaluation.check_tokenizer(llama, byte_tokenizer.build())
    model = hf_models.by_name("llama").build(vocab_size=256)
    evaluation.check_tokenizer(model, byte_tokenizer.build())
    with pytest.raises(ValueError, match="tokenizer has 257 tokens, the model 256"):
        evaluation.check_tokenizer(model, byte_tokenizer.build(["<s>"]))


# ------------------------------------------------------------------------------------------------ several methods


def paths_for(model, *methods):
    return [hf.scaling_for(model, method) for method in methods]


def test_a_comparison_measures_the_untouched_model_and_then_each_path_and_restores(llama):
    tokens = documents(140, 150)
    inputs = tokens[0][None]
    before = llama(inputs).logits
    paths = paths_for(llama, scaling.Linear, scaling.YaRN)
    rows = evaluation.compare(llama, paths, tokens, WINDOW, (8, 2))
    assert [row.label for row in rows] == ["untouched", "linear", "yarn"]
    assert [[row.factor for row in one.result.rows] for one in rows] == [[1, 2, 8]] * 3
    assert rows[0].result == evaluation.loss_by_length(llama, tokens, WINDOW, (1, 2, 8)) and rows[0].scaling is None
    for path, row in zip(paths, rows[1:], strict=True):
        with hf.extended(llama, path):
            assert row.result == evaluation.loss_by_length(llama, tokens, WINDOW, (1, 2, 8))
        assert hf.spec.build(row.scaling) == path
    assert torch.equal(llama(inputs).logits, before)


def test_paths_are_called_by_their_own_options_or_by_the_callers_names(llama):
    geometry = dict(head_dim=16, base=1e4, window=WINDOW)
    for path, label in (
        (scaling.YaRN(**geometry), "yarn"),
        (scaling.YaRN(**geometry, ramp=scaling.TurnsRamp(slow=1, fast=32)), "yarn ramp=TurnsRamp"),
        (scaling.DynamicNTK(**geometry, rate=3.0), "dynamic_ntk rate=3"),
        (scaling.CLEX(**geometry), "clex"),
        (scaling.CLEX(**geometry, max_factor=4.0), "clex max_factor=4"),
    ):
        assert evaluation.label(path) == label
    two = [scaling.CLEX(**geometry), scaling.CLEX(**geometry)]
    with pytest.raises(ValueError, match="several paths are called clex"):
        evaluation.compare(llama, two, documents(40), WINDOW, (1, 2))
    rows = evaluation.compare(llama, dict(zip(("first", "second"), two, strict=True)), documents(40), WINDOW, (1, 2))
    assert [row.label for row in rows] == ["untouched", "first", "second"]


def test_progress_of_a_comparison_rises_to_its_total(llama):
    calls = []
    evaluation.compare(
        llama, paths_for(llama, scaling.NTK), documents(40), WINDOW, (2,), progress=lambda *call: calls.append(call)
    )
    assert calls == [(16, 96), (48, 96), (64, 96), (96, 96)]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([scaling.YaRN(head_dim=16, base=1e4, window=32)], "yarn is built for a window of 32 tokens, .* multiples of 16"),
        ([scaling.YaRN(head_dim=32, base=1e4, window=16)], "head_dim 32"),
        ([scaling.CLEX(head_dim=16, base=1e4, window=16, max_factor=2.0)], "clex max_factor=2: length 64 exceeds"),
        ({"untouched": scaling.YaRN(head_dim=16, base=1e4, window=16)}, "untouched"),
    ],
)
def test_a_path_that_does_not_fit_is_refused_before_the_first_measurement(llama, paths, words):
    with pytest.raises(ValueError, match=words):
        evaluation.compare(llama, paths, documents(80), WINDOW, (1, 4), progress=lambda *_: pytest.fail("measured"))
    with pytest.raises(ValueError, match="not extended"):
        hf.rotary_of(llama)


@pytest.mark.parametrize("refused", hf_models.REFUSED, ids=lambda refused: refused.name)
def test_a_model_that_cannot_be_extended_is_refused_before_the_first_measurement(refused):
    with pytest.raises(ValueError) as error:
        evaluation.compare(refused.build(), [], documents(80), 32, (1, 2), progress=lambda *_: pytest.fail("measured"))
    assert all(word in str(error.value) for word in refused.says)


def test_an_extended_model_is_refused_as_the_control(llama):
    with hf.extended(llama, hf.scaling_for(llama, scaling.YaRN)), pytest.raises(ValueError, match="restore"):
        evaluation.compare(llama, [], documents(80), WINDOW, (1, 2))


def test_the_table_has_a_line_a_method_and_ends_with_truncation(llama):
    rows = evaluation.compare(llama, paths_for(llama, scaling.Linear), documents(80), WINDOW, (1, 2, 4))
    lines = evaluation.table(rows).splitlines()
    assert lines[0] == "| method | 1× (16) | 2× (32) | 4× (64) |" and lines[1] == "| --- | --- | --- | --- |"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [line[0] for line in cells] == ["untouched", "linear", "untouched, last 16 tokens only"]
    assert cells[1][3] == f"{rows[1].result.at(4).last:.3f}"
    assert cells[2][1:] == [f"{rows[0].result.at(1).last:.3f}"] * 3


def test_a_measurement_becomes_a_record_that_is_read_back(llama, tmp_path):
    row = evaluation.compare(llama, paths_for(llama, scaling.YaRN), documents(80, 90, 10), WINDOW, (1, 2, 4))[1]
    record = evaluation.record(row, experiment="evaluate", run="tiny.yarn", config={"model": "tiny"}, seed=3, device="cpu")
    stored = results.read(results.write(record, tmp_path))
    assert stored == record and stored.seed == 3 and stored.tokens == 2 * (16 + 32 + 64)
    assert stored.metrics["last"]["4"] == row.result.at(4).last and stored.metrics["scale"] == {"1": 1.0, "2": 2.0, "4": 4.0}
    assert (stored.metrics["documents"], stored.metrics["too_short"]) == (2, 1)
    assert hf.spec.build(stored.config["scaling"]) == hf.scaling_for(llama, scaling.YaRN)
