"""Truncation and a sliding window: the same targets as a long reading, and the loss of a loop that reads as they say."""

import hf_models
import pytest
import torch
from torch import nn

from clexlab import evaluation, hf, scaling
from clexlab.evaluation import contexts

WINDOW = 16


@pytest.fixture(scope="module")
def llama():
    return hf_models.by_name("llama").build(window=WINDOW)


def nats(model, text, first, target):
    """Loss of token `target` after the tokens from `first` on, read for it alone."""
    with torch.no_grad():
        logits = model(text[None, first:target]).logits[0, -1].double()
    return logits.logsumexp(0).item() - logits[text[target]].item()


def truncated_loop(model, text):
    """Windows counted from the end; each target after what stands before it in its window."""
    length = len(text) - 1
    return [nats(model, text, max(0, length - WINDOW * ((length - target) // WINDOW + 1)), target) for target in range(1, len(text))]


def sliding_loop(model, text, stride):
    """For each target the earliest window that reads up to it: windows end a stride apart, the last one at the end of the text."""
    length, losses = len(text) - 1, []
    for target in range(1, len(text)):
        end = length - stride * ((length - target) // stride)
        losses.append(nats(model, text, max(0, end - WINDOW), target))
    return losses


@pytest.mark.parametrize("factor", [1, 2, 2.625])
@pytest.mark.parametrize(
    ("context", "loop"),
    [
        (evaluation.Truncated(), truncated_loop),
        (evaluation.Sliding(), lambda model, text: sliding_loop(model, text, WINDOW // 4)),
        (evaluation.Sliding(stride=7), lambda model, text: sliding_loop(model, text, 7)),
        (evaluation.Sliding(stride=WINDOW), truncated_loop),
    ],
    ids=["truncated", "sliding", "by 7", "by a window"],
)
def test_the_loss_is_that_of_a_loop_over_the_targets(llama, context, loop, factor):
    (text,) = hf_models.tokens(60)[0]
    row = evaluation.loss_by_length(llama, [text], WINDOW, (factor, 3), context=context).at(factor)
    expected = loop(llama, text[: 3 * WINDOW + 1][-row.length - 1 :])
    # Float32 attention over other lengths rounds otherwise.
    assert row.whole == pytest.approx(sum(expected) / len(expected), abs=2e-5)
    assert row.last == pytest.approx(sum(expected[-WINDOW // 4 :]) / (WINDOW // 4), abs=2e-5)


@pytest.mark.parametrize("context", [kind() for kind in evaluation.CONTEXTS], ids=lambda context: context.name)
@pytest.mark.parametrize("length", [4, 16, 17, 31, 64, 100])
def test_every_target_counts_once_whatever_the_context(context, length):
    blocks = context.blocks(length, WINDOW)
    counted = [target for block in blocks for target in range(block.first, block.stop)]
    assert counted == list(range(length))
    assert all(0 <= block.start <= block.first < block.stop for block in blocks)
    assert context.span(length, WINDOW) == (length if context == evaluation.EVERYTHING else min(length, WINDOW))
    assert context.tokens(length, WINDOW) == sum(block.stop - block.start for block in blocks)
    if context == evaluation.Sliding():
        # After the first window no target has less than three quarters of a window before it.
        assert all(block.first - block.start == WINDOW * 3 // 4 for block in blocks[1:])


class ByToken(nn.Module):
    """A model whose loss depends on the target token alone."""

    def __init__(self):
        super().__init__()
        self.embeddings = nn.Embedding(99, 1)
        self.log_probabilities = torch.randn(99, generator=torch.Generator().manual_seed(7)).log_softmax(0)

    def get_input_embeddings(self):
        return self.embeddings

    def forward(self, input_ids, use_cache):
        return type("Output", (), {"logits": self.log_probabilities.expand(*input_ids.shape, -1)})()


def test_all_contexts_are_asked_for_the_same_targets():
    texts = [row[0] for row in hf_models.tokens(80, 70)]
    rows = [evaluation.loss_by_length(ByToken(), texts, WINDOW, (1, 2, 4), context=kind()).rows for kind in evaluation.CONTEXTS]
    for everything, *others in zip(*rows, strict=True):
        for other in others:
            assert other.whole_by_document == pytest.approx(everything.whole_by_document, abs=1e-6)
            assert other.last_by_document == pytest.approx(everything.last_by_document, abs=1e-6)


def test_of_the_last_targets_both_baselines_are_the_loss_at_factor_one(llama):
    texts = [row[0] for row in hf_models.tokens(80, 70)]
    plain = evaluation.loss_by_length(llama, texts, WINDOW, (1, 2, 4))
    rows = evaluation.baselines(llama, texts, WINDOW, (1, 2, 4), batch=1)
    assert [row.label for row in rows] == ["untouched, truncated", "untouched, sliding"]
    for row in rows:
        assert all(each.last == pytest.approx(plain.at(1).last, abs=1e-5) for each in row.result.rows)
        assert row.result.at(1).whole == pytest.approx(plain.at(1).whole, abs=1e-5)
    assert rows[0].result.at(4).whole != pytest.approx(rows[1].result.at(4).whole, abs=1e-3)
    assert rows[0].result.tokens == plain.tokens == 2 * 7 * 16 and rows[1].result.tokens == 2 * 16 * (1 + 5 + 13)


def test_an_extended_model_reads_windows_at_the_factor_of_a_window(llama):
    texts = [row[0] for row in hf_models.tokens(80)]
    with hf.extended(llama, hf.scaling_for(llama, scaling.YaRN)):
        result = evaluation.loss_by_length(llama, texts, WINDOW, (1, 4), context=evaluation.Truncated())
    assert [row.scale for row in result.rows] == [1.0, 1.0]
    assert result.rows == evaluation.loss_by_length(llama, texts, WINDOW, (1, 4), context=evaluation.Truncated()).rows


def test_a_start_token_begins_every_window(llama):
    model, text = ByToken(), hf_models.tokens(80)[0][0]
    read, forward = [], model.forward
    model.forward = lambda input_ids, use_cache: (read.extend(input_ids), forward(input_ids, use_cache))[1]
    evaluation.loss_by_length(model, [text], WINDOW, (4,), context=evaluation.Sliding(), start=1)
    assert len(read) == 13 and all(one[0] == 1 and len(one) == WINDOW for one in read)


def test_a_context_is_built_again_from_what_a_record_says():
    for context in (*(kind() for kind in evaluation.CONTEXTS), evaluation.Sliding(stride=3)):
        assert contexts.build(contexts.describe(context)) == context
    assert contexts.build({}) == evaluation.EVERYTHING
    with pytest.raises(ValueError, match="no context is named 'half'; there are everything, truncated, sliding"):
        contexts.build({"context": "half"})


def test_a_stride_that_leaves_targets_out_is_refused(llama):
    for stride in (0, -1, True):
        with pytest.raises(ValueError, match="stride is"):
            evaluation.Sliding(stride=stride)
    text = hf_models.tokens(80)[0][0]
    with pytest.raises(ValueError, match="stride 17 is beyond the window of 16"):
        evaluation.loss_by_length(llama, [text], WINDOW, (2,), context=evaluation.Sliding(stride=17))
