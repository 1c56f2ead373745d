"""A model made outside the repository is extended, evaluated and exported by following lesson 17 only: one line is changed.

The model is not the lesson's own: a GPT-NeoX, which turns a quarter of each head and takes its inputs by position, with a
tokenizer trained on the spot. The notebook is the stored one; the test adds a last cell that keeps the temporary folder.
"""

import re

import nbformat
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

import clexlab
from clexlab import corpora, evaluation, hf, notebooks, scaling

LESSON = notebooks.find("17")
CHOICE = re.compile(r"^my_model = .*$", re.MULTILINE)
WINDOW = 48
VOCABULARY = 400


def trained_tokenizer():
    """Byte-level BPE with its own vocabulary, trained on a few files of the standard library."""
    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer, rules.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False)
    rules.train_from_iterator([document.text for document in corpora.standard_library("held_out").documents[:5]], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=rules, eos_token="<|end|>", bos_token="<|end|>")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a model and a tokenizer, as any program of transformers writes it."""
    folder = tmp_path_factory.mktemp("somewhere") / "my model"
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 0.5},
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    model = GPTNeoXForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # Larger weights of queries and keys than a fresh model has, so that positions matter.
            weight.mul_(6 if "query_key_value.weight" in name else 1)
    model.save_pretrained(folder)
    trained_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def followed(made, tmp_path_factory):
    """The executed lesson, the working folder it left, and the reader's folder as it was before."""
    folder = tmp_path_factory.mktemp("lesson")
    lesson = nbformat.read(LESSON, as_version=4)
    chosen = [cell for cell in lesson.cells if cell.cell_type == "code" and CHOICE.search(cell.source)]
    assert len(chosen) == 1, "lesson 17 has one line `my_model = …`"
    chosen[0].source = CHOICE.sub(f"my_model = {str(made)!r}", chosen[0].source)
    kept = folder / "kept"
    lesson.cells.append(nbformat.v4.new_code_cell(f"import shutil\nshutil.copytree(work.name, {str(kept)!r})"))
    nbformat.write(lesson, folder / LESSON.name)
    before = contents(made)
    return notebooks.execute(folder / LESSON.name, "smoke"), kept, before


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def printed(lesson):
    """All text of the executed lesson: what was printed and what was shown as a table."""
    outputs = [output for cell in lesson.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/markdown", "") for output in outputs)


def longest_text(made):
    tokenizer = AutoTokenizer.from_pretrained(made)
    return torch.tensor([tokenizer.encode(corpora.standard_library("held_out").documents[0].text, verbose=False)[: 8 * WINDOW]])


@pytest.mark.slow
def test_the_lesson_runs_on_it_without_an_error_or_a_warning(followed):
    lesson, *_ = followed
    assert notebooks.failure(lesson) is None
    assert not [output for cell in lesson.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]


@pytest.mark.slow
def test_the_lesson_reads_this_models_own_numbers(followed):
    said = printed(followed[0])
    assert "GPTNeoXForCausalLM" in said and f"rotary dimension 16, base 5,000, window {WINDOW} tokens" in said
    assert "restored, logits equal to the untouched model's, bit for bit: True" in said
    assert "24 of 24 tokens agree" in said and "after loading, logits equal bit for bit: True" in said


@pytest.mark.slow
def test_the_loss_it_prints_is_the_evaluations_own(followed, made):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(made), AutoTokenizer.from_pretrained(made)
    # A model that is not the pocket model has not been kept from any half; the train half has the longer texts.
    documents, factors = corpora.standard_library("train").documents, (1, 2, 4, 8)
    drawn = evaluation.sample(documents, tokenizer, 8 * WINDOW, 2, torch.Generator().manual_seed(0))
    start = evaluation.start_token(tokenizer)
    (plain, yarn) = evaluation.compare(model, [hf.scaling_for(model, scaling.YaRN)], drawn.tokens, WINDOW, factors, start=start)
    said = printed(followed[0])
    for label, measurement in (("untouched", plain), ("YaRN", yarn)):
        losses = " | ".join(f"{row.last:.3f}" for row in measurement.result.rows)
        assert f"| {label} | {losses} |" in said


@pytest.mark.slow
def test_the_export_exists_and_plain_transformers_gives_the_logits_of_the_extended_model(followed, made):
    exported = followed[1] / "stock"
    stock, model = (AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (exported, made))
    assert type(stock) is GPTNeoXForCausalLM and stock.config.max_position_embeddings == 8 * WINDOW
    text = longest_text(made)
    clexlab.extend(model, hf.scaling_for(model, scaling.YaRN), factor=8.0)
    with torch.no_grad():
        for length in (WINDOW // 2, WINDOW, 8 * WINDOW):
            # Logits are of size 1; float32 sums over a few hundred positions, and θ differs in its last bit.
            torch.testing.assert_close(stock(text[:, :length]).logits, model(text[:, :length]).logits, atol=1e-5, rtol=1e-5)
        plain = clexlab.restore(model)(text).logits
        assert (stock(text).logits - plain).abs().max() > 1e-2


@pytest.mark.slow
def test_the_saved_folder_loads_with_clexlab_and_is_refused_by_plain_transformers(followed, made):
    saved = followed[1] / "mine"
    model, text = AutoModelForCausalLM.from_pretrained(made).eval(), longest_text(made)
    with torch.no_grad(), clexlab.extended(model, hf.scaling_for(model, scaling.YaRN)):
        assert torch.equal(clexlab.load(saved)(text).logits, model(text).logits)
    with pytest.raises(KeyError, match="clexlab.load"):
        AutoModelForCausalLM.from_pretrained(saved)


@pytest.mark.slow
def test_the_command_line_wrote_its_export_and_refused_the_scaled_model(followed):
    said = printed(followed[0])
    assert (followed[1] / "stock-2" / "model.safetensors").is_file() and not (followed[1] / "stock-4").exists()
    assert "(exit status 0)" in said and "(exit status 2)" in said


@pytest.mark.slow
def test_the_lesson_leaves_the_readers_folder_alone(followed, made):
    assert contents(made) == followed[2]
