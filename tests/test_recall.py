"""Recall: the texts that ask for it, the score, and what truncation leaves of it."""

import json
import math

import byte_tokenizer
import hf_models
import pytest
import scipy.stats
import torch
from torch import nn

from clexlab import evaluation, hf, scaling
from clexlab.evaluation import trials as making

WINDOW, FACTORS, DEPTHS = 96, (1, 2, 4), (0.0, 0.3, 0.5, 1.0)
VOCABULARY = 256


def filler(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, VOCABULARY, (size,), generator=generator) for size in sizes]


def passkeys(count=2, seed=1):
    return evaluation.passkeys(byte_tokenizer.build(), filler(500, 450), 4 * WINDOW, count, torch.Generator().manual_seed(seed))


def copies(count=2, seed=1):
    return evaluation.copies(VOCABULARY, filler(500, 450), 4 * WINDOW, count, torch.Generator().manual_seed(seed))


TASKS = pytest.mark.parametrize("make", [passkeys, copies], ids=["passkey", "copy"])


class Finder(nn.Module):
    """Predicts what followed the last six tokens where they stood before in what it was given to read; else token 0."""

    def __init__(self):
        super().__init__()
        self.embeddings, self.read = nn.Embedding(VOCABULARY, 1), []

    def get_input_embeddings(self):
        return self.embeddings

    def forward(self, input_ids, use_cache):
        self.read += list(input_ids)
        logits = torch.zeros(*input_ids.shape, VOCABULARY)
        for row, text in enumerate(input_ids):
            ends = {}
            for place in range(5, len(text)):
                seen = tuple(text[place - 5 : place + 1].tolist())
                logits[row, place, int(text[ends[seen] + 1]) if seen in ends else 0] = 20.0
                ends[seen] = place
        return type("Output", (), {"logits": logits})()


# ------------------------------------------------------------------------------------------------ the texts


@TASKS
def test_a_text_has_its_length_and_one_needle_at_its_depth_and_ends_with_question_and_answer(make):
    for trial in make(3):
        tail = torch.cat([trial.question, trial.answer])
        for length in (WINDOW, 2 * WINDOW, 4 * WINDOW):
            for depth in DEPTHS:
                text = trial.text(length, depth)
                assert len(text) == length
                assert torch.equal(text[-len(tail) :], tail)
                assert making.occurrences(text[: -len(tail)], trial.needle) == 1
                # In the needle and at the end, nowhere else: there is one place to recall it from.
                assert making.occurrences(text, trial.answer) == making.occurrences(text, trial.question) == 2
                room = length - len(trial.needle) - len(tail)
                before = next(at for at in range(room + 1) if torch.equal(text[at : at + len(trial.needle)], trial.needle))
                assert abs(before - depth * room) <= 0.5
                around = torch.cat([text[:before], text[before + len(trial.needle) : -len(tail)]])
                # The filler's end, whole and in order, whatever the length.
                assert torch.equal(around, trial.filler[len(trial.filler) - room :])


def test_depth_zero_is_the_beginning_and_depth_one_the_end(generator):
    (trial,) = passkeys(1)
    assert torch.equal(trial.text(200, 0.0)[: len(trial.needle)], trial.needle)
    end = len(trial.question) + len(trial.answer)
    assert torch.equal(trial.text(200, 1.0)[-end - len(trial.needle) : -end], trial.needle)


@TASKS
def test_texts_lie_in_one_document_and_are_the_seeds_own(make):
    documents = filler(500, 450)
    for one, same in zip(make(4), make(4), strict=True):
        assert any(making.occurrences(document, one.filler) for document in documents)
        assert torch.equal(one.text(300, 0.4), same.text(300, 0.4))
    assert any(not torch.equal(one.answer, other.answer) for one, other in zip(make(4), make(4, seed=2), strict=True))


def test_a_pass_key_reads_as_the_sentence_of_the_training_rows():
    tokenizer = byte_tokenizer.build()
    for trial in passkeys(4):
        said, asked, key = (tokenizer.decode(part) for part in (trial.needle, trial.question, trial.answer))
        assert asked.startswith("\n# The pass key of ") and asked.endswith(" is ") and key.isdecimal() and len(key) == 5
        assert said == f"{asked}{key}.\n"


def test_a_key_that_stands_in_the_filler_by_chance_is_drawn_again():
    draws = iter([[5, 6], [8, 7], [9, 9]])

    def draw(text):
        answer = torch.tensor(next(draws))
        return evaluation.Trial(task="copy", filler=text, needle=answer, question=torch.tensor([1]), answer=answer)

    assert making._unlike(draw, torch.tensor([3, 5, 6, 8, 7, 2])).answer.tolist() == [9, 9]
    with pytest.raises(ValueError, match="1000 drawn answers"):
        making._unlike(lambda text: making.Trial(task="copy", filler=text, needle=text, question=text, answer=text), torch.ones(9).long())


# ------------------------------------------------------------------------------------------------ the score


@TASKS
def test_a_model_that_finds_recalls_everything_and_one_that_does_not_nothing(make):
    found = evaluation.recall(Finder(), make(), WINDOW, FACTORS, DEPTHS)
    assert [(row.factor, row.length, row.depth) for row in found.rows] == [
        (factor, factor * WINDOW, depth) for factor in FACTORS for depth in DEPTHS
    ]
    assert all(row.exact == row.accuracy == 1.0 and row.loss < 0.01 and row.trials == 2 for row in found.rows)
    constant = Finder()
    constant.forward = lambda input_ids, use_cache: type("Output", (), {"logits": torch.zeros(*input_ids.shape, VOCABULARY)})()
    lost = evaluation.recall(constant, make(), WINDOW, (1, 2), (0.5,))
    assert all(row.exact == row.accuracy == 0 and row.loss == pytest.approx(math.log(VOCABULARY)) for row in lost.rows)


@TASKS
def test_every_method_and_length_is_asked_for_the_same_tokens(make):
    model, trials = Finder(), make()
    evaluation.recall(model, trials, WINDOW, FACTORS, DEPTHS, batch=3)
    evaluation.recall(model, trials, WINDOW, FACTORS, DEPTHS, batch=1)
    half = len(model.read) // 2
    assert all(torch.equal(one, other) for one, other in zip(model.read[:half], model.read[half:], strict=True))
    ends = {tuple(text[-len(trials[0].question) - len(trials[0].answer) :].tolist()) for text in model.read}
    assert len(ends) == len(trials)
    assert {len(text) for text in model.read} == {WINDOW, 2 * WINDOW, 4 * WINDOW}


WAYS = {
    "plain": None,
    "yarn frozen": dict(cache="frozen"),
    "yarn refill": dict(cache="refill"),
    "yarn exact": dict(cache="frozen", schedule=hf.Exact()),
    "yarn pinned": dict(factor=4.0),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_exact_answer_is_what_greedy_generate_gives(way):
    model = hf_models.by_name("llama").build(window=WINDOW, vocab_size=VOCABULARY)
    if WAYS[way] is not None:
        hf.extend(model, hf.scaling_for(model, scaling.YaRN), **WAYS[way])
    (trial,) = passkeys(1)
    length, depth = 2 * WINDOW, 0.5
    prompt = trial.text(length, depth)[: -len(trial.answer)]
    made = model.generate(prompt[None], attention_mask=torch.ones(1, len(prompt)), max_new_tokens=len(trial.answer), do_sample=False)
    answers = [made[0, len(prompt) :]]
    # Another last token, and another first one: greedy decoding would have left the answer there.
    answers += [torch.where(torch.arange(5) == place, (answers[0] + 1) % VOCABULARY, answers[0]) for place in (4, 0)]
    asked = [evaluation.Trial(**{**vars(trial), "answer": answer}) for answer in answers]
    (row,) = evaluation.recall(model, asked, WINDOW, (2,), (depth,)).rows
    assert row.exact_by_trial == (True, False, False) and row.accuracy_by_trial[:2] == (1.0, 0.8)
    assert row.scale == (1 if WAYS[way] is None else 4 if way == "yarn pinned" else 2)


@TASKS
def test_loss_and_score_are_those_of_a_loop_over_the_answer(make):
    model = hf_models.by_name("gpt_neox").build(window=WINDOW, vocab_size=VOCABULARY)
    trials = make()
    (row,) = evaluation.recall(model, trials, WINDOW, (2,), (0.3,)).rows
    for index, trial in enumerate(trials):
        text, losses, right = trial.text(2 * WINDOW, 0.3), [], []
        for place in range(len(text) - len(trial.answer), len(text)):
            with torch.no_grad():
                logits = model(text[None, :place]).logits[0, -1].double()
            losses.append(logits.logsumexp(0).item() - logits[text[place]].item())
            right.append(logits.argmax().item() == text[place].item())
        # Attention in float32 over other lengths rounds otherwise.
        assert row.loss_by_trial[index] == pytest.approx(sum(losses) / len(losses), abs=2e-5)
        assert row.accuracy_by_trial[index] == pytest.approx(sum(right) / len(right)) and row.exact_by_trial[index] == all(right)


def test_a_start_token_comes_before_the_text_and_costs_one_token_of_filler():
    model, trials = Finder(), passkeys(1)
    evaluation.recall(model, trials, WINDOW, (1, 2), (0.0,), start=7)
    assert [len(text) for text in model.read] == [WINDOW, 2 * WINDOW] and all(text[0] == 7 for text in model.read)
    assert torch.equal(model.read[1][1:], trials[0].text(2 * WINDOW - 1, 0.0))


# ------------------------------------------------------------------------------------------------ the baselines


@pytest.mark.parametrize("context", [evaluation.Truncated(), evaluation.Sliding()], ids=lambda context: context.name)
def test_what_lies_before_the_last_window_is_lost_to_a_model_that_reads_the_last_window(context):
    model = Finder()
    found = evaluation.recall(model, passkeys(), WINDOW, FACTORS, DEPTHS, context=context)
    assert {len(text) for text in model.read} == {WINDOW}
    for row in found.rows:
        assert row.exact == (1.0 if row.factor == 1 or row.depth == 1 else 0.0)
    assert found.at(1) == evaluation.recall(model, passkeys(), WINDOW, (1,), DEPTHS).rows


# ------------------------------------------------------------------------------------------------ numbers for records


def test_the_interval_is_wilsons():
    for successes, trials in ((0, 5), (5, 5), (3, 7), (95, 100), (1, 1)):
        expected = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert evaluation.wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)
    for successes, trials in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="successes of"):
            evaluation.wilson(successes, trials)


def row(factor, depth, *exact):
    shares = tuple(float(each) for each in exact)
    return evaluation.RecallRow(
        factor=factor, length=int(10 * factor), depth=depth, scale=1.0,
        exact_by_trial=exact, accuracy_by_trial=shares, loss_by_trial=shares,
    )


def test_the_metrics_are_plain_json_by_factor_and_by_depth():
    rows = (row(1.0, 0.0, True, True), row(1.0, 0.5, True, False), row(2.0, 0.0, False, False), row(2.0, 0.5, True, False))
    result = evaluation.Recall(task="passkey", window=10, rows=rows)
    metrics = result.metrics()
    assert json.loads(json.dumps(metrics)) == metrics
    assert metrics["passkey"] == {"1": 0.75, "2": 0.25}
    assert metrics["passkey_by_depth"] == {"1": {"0": 1.0, "0.5": 0.5}, "2": {"0": 0.0, "0.5": 0.5}}
    assert metrics["passkey_by_trial"]["2"] == {"0": [0, 0], "0.5": [1, 0]}
    assert metrics["passkey_interval"]["1"] == list(evaluation.wilson(3, 4)) and metrics["passkey_trials"] == 2
    assert result.exact(2) == 0.25 and [each.depth for each in result.at(2)] == [0.0, 0.5]
    with pytest.raises(ValueError, match="factor 4 was not measured; there are 1, 2"):
        result.exact(4)
    lines = evaluation.recall_table({"yarn": result}).splitlines()
    assert lines[0] == "| passkey | 1× (10) | 2× (20) |" and lines[2] == "| yarn | 75 % | 25 % |"


def test_progress_counts_tokens_up_to_the_total():
    calls = []
    evaluation.recall(Finder(), passkeys(3), WINDOW, (1, 2), (0.0, 1.0), batch=2, progress=lambda *call: calls.append(call))
    assert calls[0] == (2 * WINDOW, 18 * WINDOW) and calls[-1] == (18 * WINDOW, 18 * WINDOW) and len(calls) == 8


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trials": ()}, "trials is empty"),
        ({"trials": (*passkeys(1), *copies(1))}, "copy, passkey"),
        ({"depths": ()}, "depths are"),
        ({"depths": (0.5, 0.5)}, "each once"),
        ({"depths": (1.1,)}, "depth is 1.1"),
        ({"depths": (math.nan,)}, "depth is nan"),
        ({"batch": 0}, "batch is 0"),
        ({"factors": (8,)}, "length is 768; a text of this trial has"),
        ({"window": 16, "factors": (1,)}, "length is 16"),
        ({"window": 16, "factors": (12,), "context": evaluation.Sliding()}, "answer of 5 tokens needs 6 places, 4"),
        ({"start": 256}, "token 256 is outside"),
        ({"start": -1}, "token -1 is outside"),
    ],
)
def test_what_cannot_be_asked_is_refused(change, words):
    arguments = {"trials": passkeys(1), "window": WINDOW, "factors": (1, 2), "depths": (0.5,)} | change
    model = Finder()
    with pytest.raises(ValueError, match=words):
        evaluation.recall(model, **arguments)
    assert not model.read


def test_fillers_that_are_too_short_are_refused(generator):
    with pytest.raises(ValueError, match="none of 1 documents has 200 tokens"):
        evaluation.passkeys(byte_tokenizer.build(), filler(199), 200, 1, generator)
    with pytest.raises(ValueError, match="count is 0"):
        evaluation.copies(VOCABULARY, filler(300), 200, 0, generator)


def test_a_length_beyond_the_path_is_refused_before_anything_is_measured():
    model = hf_models.by_name("llama").build(window=WINDOW, vocab_size=VOCABULARY)
    path = scaling.CLEX(head_dim=16, base=1e4, window=WINDOW, max_factor=2.0)
    with hf.extended(model, path), pytest.raises(ValueError, match="max_factor"):
        evaluation.recall(model, passkeys(), WINDOW, FACTORS, progress=lambda *_: pytest.fail("measured"))
