"""Impactful tokens: sums written out, what raises a token, sentences kept, rows that are trained on them."""

from collections import Counter

import hf_models
import pytest
import torch
from hf_training import build
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clexlab import rows
from clexlab.impact import Impact, Selected, anchored, impact, select
from clexlab.positions import sentence_lengths

VOCABULARY = hf_models.VOCABULARY
END = 7


def texts(count: int = 3, length: int = 10, seed: int = 0) -> torch.Tensor:
    # Few types, so that they occur several times.
    return torch.randint(10, 16, (count, length), generator=torch.Generator().manual_seed(seed))


class Raised(nn.Module):
    """A model and numbers that are added to its logits of every token."""

    def __init__(self, model: nn.Module, added: torch.Tensor) -> None:
        super().__init__()
        self.model, self.added = model, added

    def forward(self, **inputs):
        found = self.model(**inputs)
        found.logits = found.logits + self.added
        return found


def added(**values: float) -> torch.Tensor:
    made = torch.zeros(VOCABULARY)
    for token, value in values.items():
        made[int(token[1:])] = value
    return made


def other() -> nn.Module:
    model = build(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model


# ------------------------------------------------------------------------------------------------ the analysis


@torch.no_grad()
def test_the_sums_are_those_of_a_loop_over_every_token():
    base, tuned, some = build(1), other(), texts()
    total, counts = [0.0] * VOCABULARY, [0] * VOCABULARY
    for text in some.tolist():
        for place in range(1, len(text)):
            # A forward for every prefix: what stands behind a token has no part in it.
            before, after = (model(input_ids=torch.tensor([text[:place]])).logits[0, -1].tolist() for model in (base, tuned))
            total[text[place]] += after[text[place]] - before[text[place]]
            counts[text[place]] += 1
    for batch in (1, 2, 5):
        found = impact(base, tuned, some, batch)
        assert found.counts.tolist() == counts
        # Float32 logits of a few units, up to nine of them summed.
        assert found.total.tolist() == pytest.approx(total, abs=1e-4)


def test_what_tuning_raises_has_that_impact_and_the_others_none():
    model = build(1)
    found = impact(model, Raised(build(1), added(t12=3.0, t15=-2.0)), texts())
    counts = found.counts
    assert found.total[12] == pytest.approx(3.0 * int(counts[12]), abs=1e-4) and int(counts[12]) > 0
    assert found.total[15] == pytest.approx(-2.0 * int(counts[15]), abs=1e-4)
    assert found.total.abs().sum() == pytest.approx(float(found.total[12] - found.total[15]), abs=1e-3)
    assert found.top(0.1).tolist() == [12]


def test_two_copies_of_a_model_have_no_impact_and_turned_round_it_has_the_other_sign():
    some, one, two = texts(), build(1), other()
    assert impact(one, build(1), some).total.abs().max() == 0
    assert torch.equal(impact(one, two, some).total, -impact(two, one, some).total)


def test_a_constant_on_all_logits_is_in_the_sums_though_no_prediction_changes():
    found = impact(build(1), Raised(build(1), torch.full((VOCABULARY,), 2.0)), texts())
    assert found.total.tolist() == pytest.approx((2.0 * found.counts).tolist(), abs=1e-4)


def test_a_model_in_train_mode_is_read_in_eval_mode_and_is_in_train_mode_again():
    base, tuned = build(1).train(), other()
    impact(base, tuned, texts())
    assert base.training and base.model.training and not tuned.training
    assert all(weight.grad is None for weight in (*base.parameters(), *tuned.parameters()))


@settings(max_examples=40)
@given(share=st.sampled_from([0.01, 0.2, 0.5, 1.0]), seed=st.integers(0, 1000), occurring=st.integers(1, 30))
def test_the_top_share_is_the_largest_of_what_occurred(share, seed, occurring):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.zeros(40, dtype=torch.long)
    counts[torch.randperm(40, generator=generator)[:occurring]] = 1
    # Few values, so that some are equal.
    total = torch.randint(-3, 4, (40,), generator=generator).double()
    found = Impact(total=total, counts=counts).top(share).tolist()
    ranked = sorted((token for token in range(40) if counts[token]), key=lambda token: (-float(total[token]), token))
    size = next(size for size in range(1, occurring + 1) if size >= share * occurring - 1e-6)
    assert found == ranked[:size]


# ------------------------------------------------------------------------------------------------ sentences

TEXT = torch.tensor([1, 2, END, 3, END, 4, 1, 5, END, END, 6, 1])
ANCHORS = torch.tensor([1, 40])


def test_sentences_with_an_anchor_are_kept_whole_and_in_order():
    assert [sentence.tolist() for sentence in anchored(TEXT, (END,), ANCHORS)] == [[1, 2, END], [4, 1, 5, END], [6, 1]]
    assert anchored(TEXT, (END,), torch.tensor([41])) == ()
    assert torch.equal(torch.cat(anchored(TEXT, (END,), torch.tensor([1, 3, END]))), TEXT)


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), length=st.integers(2, 30))
def test_selected_is_a_loop_over_the_sentences(seed, length):
    text = torch.randint(1, 9, (60,), generator=torch.Generator().manual_seed(seed))
    kept, sentence = [], []
    for token in [*text.tolist(), None]:
        if token is not None:
            sentence.append(token)
        if token is None or token == END:
            kept += sentence if 1 in sentence else []
            sentence = []
    if len(kept) >= length:
        assert select(text, (END,), ANCHORS, length).tolist() == kept[:length]
    else:
        with pytest.raises(ValueError, match=f"{length} were asked for"):
            select(text, (END,), ANCHORS, length)


def test_a_row_begins_with_a_sentence_that_holds_an_anchor_and_its_sentences_are_found_again():
    documents = [TEXT.repeat(3), TEXT[:4], 10 + TEXT]
    source, generator = Selected(documents, 8, (END,), ANCHORS), torch.Generator().manual_seed(0)
    assert source.never_drawn == 2 and source.name == "selected" and isinstance(source, rows.Source)
    found = Counter(tuple(source.draw(generator).tolist()) for _ in range(600))
    whole = torch.cat(anchored(documents[0], (END,), ANCHORS)).tolist()
    starts = [start for start in range(len(whole) - 7) if start == 0 or whole[start - 1] == END]
    wanted = Counter(tuple(whole[start : start + 8]) for start in starts)
    assert set(found) == set(wanted)
    # Five standard errors of every share.
    for row, places in wanted.items():
        share = places / len(starts)
        assert abs(found[row] / 600 - share) < 5 * (share * (1 - share) / 600) ** 0.5
    for row in found:
        lengths = sentence_lengths(torch.tensor(row), (END,))
        assert sum(lengths) == 8 and all(1 in piece for piece in torch.tensor(row).split(list(lengths))[:-1])


# ------------------------------------------------------------------------------------------------ refused


def test_bad_input_is_refused(unchecked):
    model = build(1)
    small = hf_models.by_name("llama").build(1, 16, vocab_size=50)
    none = Impact(total=torch.zeros(3, dtype=torch.float64), counts=torch.ones(3, dtype=torch.long))
    for wrong, words in [
        (lambda: impact(model, model, texts()), "are one model"),
        (lambda: impact(model, small, texts()), "99 and 50 tokens"),
        (lambda: impact(model, other(), texts(length=1)), "length is 1"),
        (lambda: impact(model, other(), texts(), batch=0), "batch is 0"),
        (lambda: none.top(0.0), "share is 0"),
        (lambda: none.top(1.5), "share is 1.5"),
        (lambda: select(TEXT, (END,), ANCHORS, 1), "length is 1"),
        (lambda: Selected([TEXT], 20, (END,), ANCHORS), "none of 1 documents has 20 tokens"),
    ]:
        with pytest.raises(ValueError, match=words):
            wrong()
