"""The loss a search goes by, what its result is worth on other documents, and the way far out and back, on tiny models."""

import math

import pytest
import torch
from hf_models import VOCABULARY, by_name
from torch.nn import functional

import clexlab
from clexlab import corpora, evaluation, hf, scaling, search, training
from clexlab.rows import Rows
from clexlab.search import Genome, Plan, Readjusted, Space, Stage, TextLoss, Tuned, scoring

L, PAIRS = 16, 8
PLAN = Plan(population=5, generations=2, parents=2, mutations=1, crossovers=1)
GENOME = Genome((1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 4.0, 4.5), 2)


def texts(count, length=4 * L, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, VOCABULARY, (length + 1 + index,), generator=generator) for index in range(count)]


def model(layers=1):
    return by_name("llama").build(layers=layers, window=L)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def quiet():
    return search.Report()


# ------------------------------------------------------------------------------------------------ the loss


@pytest.mark.parametrize("measure", ["whole", "last"])
def test_the_loss_is_the_mean_over_targets_of_texts_cut_at_window_times_factor(measure):
    one, given = model(layers=2), texts(3)
    found = TextLoss(one, given, 4.0, measure=measure, batch=2)([GENOME])
    path = scaling.LongRoPE(head_dim=16, base=1e4, window=L, factors=GENOME.factors, max_factor=4.0, start=2)
    nats = []
    with clexlab.extended(one, path, factor=4.0), torch.no_grad():
        for text in given:
            logits = one(text[None, : 4 * L]).logits[0]
            # Target i is token i + 1; the last quarter of a window are the last four.
            each = [float(-functional.log_softmax(logits[i].double(), -1)[text[i + 1]]) for i in range(4 * L)]
            nats.append(sum(each[-4:]) / 4 if measure == "last" else sum(each) / len(each))
    assert found.shape == (1,) and math.isclose(float(found), sum(nats) / 3, rel_tol=1e-5)


def test_its_targets_are_those_of_loss_by_length():
    one, given = model(), texts(2)
    linear = Genome((4.0,) * PAIRS)
    for measure in evaluation.MEASURES:
        fitness = TextLoss(one, given, 4.0, measure=measure)
        with clexlab.extended(one, fitness.path(linear), factor=4.0):
            row = evaluation.loss_by_length(one, given, L, (4.0,)).at(4.0)
        assert fitness.loss(linear) == getattr(row, measure)


def test_the_loss_is_the_mean_of_those_of_every_text():
    for measure in evaluation.MEASURES:
        fitness = TextLoss(model(), texts(3), 4.0, measure=measure)
        each = fitness.by_document(GENOME)
        assert len(each) == 3 and math.isclose(sum(each) / 3, fitness.loss(GENOME), rel_tol=1e-9)


def test_every_genome_has_its_own_loss_and_the_model_is_left_as_it_was():
    one, given = model(), texts(2)
    genomes = [Genome((4.0,) * PAIRS), GENOME, Genome(GENOME.factors, 8)]
    before = {name: weight.clone() for name, weight in one.state_dict().items()}
    found = TextLoss(one, given, 4.0)(genomes)
    assert found.dtype == torch.float64 and len(set(found.tolist())) == 3
    assert torch.equal(found[[2, 0]], TextLoss(one, given, 4.0)([genomes[2], genomes[0]]))
    assert not any(isinstance(module, hf.Rotary) for module in one.modules())
    assert all(torch.equal(before[name], weight) for name, weight in one.state_dict().items())


def test_what_a_loss_depends_on_is_told_and_nothing_else():
    one, given = model(), texts(2)
    about = TextLoss(one, given, 4.0).about
    assert about == TextLoss(one, [text[: 4 * L + 1] for text in given], 4.0).about and about["device"] == "cpu"
    # Another batch, or another device, sums in another order: the same to rounding, and not bit for bit.
    alone = TextLoss(one, given, 4.0, batch=1)
    assert alone.about == about | {"batch": 1} and math.isclose(alone.loss(GENOME), TextLoss(one, given, 4.0).loss(GENOME), rel_tol=1e-6)
    with torch.no_grad():
        one.lm_head.weight[0, 0] += 1
    others = [TextLoss(one, given, 4.0).about, TextLoss(model(), texts(2, seed=1), 4.0).about, TextLoss(model(), given, 2.0).about]
    assert all(other != about for other in others)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: TextLoss(model(), texts(2), 5.0), "2 of 2 texts have fewer than window · factor [+] 1 = 81"),
        (lambda: TextLoss(model(), [], 4.0), "0 of 0 texts"),
        (lambda: TextLoss(model(), texts(1), 4.0, measure="first"), "whole"),
        (lambda: TextLoss(model(), texts(1), 0.5), "at least 1"),
        (lambda: TextLoss(model(), texts(1), 1.3), "no whole number of tokens"),
        (lambda: TextLoss(clexlab.extend(model(), TextLoss(model(), texts(1), 4.0).path(GENOME)), texts(1), 4.0), "extended already"),
        (lambda: TextLoss(model(), texts(1), 4.0)([Genome((2.0,) * 3)]), "one divisor per pair"),
    ],
)
def test_what_cannot_be_measured_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# ------------------------------------------------------------------------------------------------ the final score


class Letters:
    """A tokenizer: a token a letter."""

    def encode(self, text, add_special_tokens=False, verbose=False):
        return [2 + ord(letter) % 90 for letter in text]


def documents(lengths):
    return [corpora.Document(name=f"d{index}", text="abcdefg"[index % 7] * length) for index, length in enumerate(lengths)]


def test_no_document_is_searched_on_and_scored_on(unchecked):
    some = documents([70, 10, 80, 90, 100, 65, 64, 120])
    seen, held_out = scoring.texts(some, Letters(), 4 * L, 2, 4)
    assert len(seen.names) == 2 and len(held_out.names) == 4 and not set(seen.names) & set(held_out.names)
    assert {"d1", "d6"}.isdisjoint(seen.names + held_out.names)
    assert scoring.texts(some, Letters(), 4 * L, 2, 4)[1].names == held_out.names
    with pytest.raises(ValueError, match="6 documents have more than 64 tokens; 2 to search on and 5 others"):
        scoring.texts(some, Letters(), 4 * L, 2, 5)


def test_tables_are_left_out_by_the_beginning_of_their_names():
    names = ("encodings/cp037.py", "encodings.py", "json/encodings/x.py", "encodings/__init__.py", "ast.py")
    corpus = corpora.Corpus(source="s", documents=tuple(corpora.Document(name=name, text=name) for name in names))
    left = scoring.without_tables(corpus)
    assert [one.name for one in left.documents] == ["encodings.py", "json/encodings/x.py", "ast.py"]
    assert left.fingerprint != corpus.fingerprint and left.source == "s, without encodings/"


def test_a_search_is_scored_beside_the_methods_it_began_with():
    one = model()
    fitness, final = TextLoss(one, texts(2), 4.0), TextLoss(one, texts(3, seed=1), 4.0)
    space, first = Space(PAIRS, 5.0, starts=(0, 1, 2)), scoring.beginning(fitness)
    history = search.search(fitness, space, PLAN, first, seeded(), report=quiet())
    named = scoring.paths(fitness, space, first, history.best)
    found = scoring.scores(one, named, fitness, {"search": fitness.texts, "held_out": final.texts})
    methods = ["linear", "ntk", "yarn"]
    assert list(found) == ["untouched", *methods, *(f"{name}_tempered" for name in methods), "searched"]
    assert found["searched"]["search"]["whole"] == history.best_fitness
    assert [found[f"{name}_tempered"]["search"]["whole"] for name in methods] == list(history.generations[0].fitness[:3])
    assert history.best_fitness <= min(history.generations[0].fitness[:3])
    assert found["linear"]["temperature"] == 1 and found["searched"]["temperature"] == found["yarn_tempered"]["temperature"] > 1
    torch.testing.assert_close(torch.tensor(found["linear"]["factors"]), torch.full((8,), 4.0))
    assert found["searched"]["start"] == history.best.start and len(found["ntk"]["held_out"]["whole_by_document"]) == 3
    curve = scoring.by_generation(history, final)
    assert len(curve) == 2 and curve[-1] == found["searched"]["held_out"]["whole"]
    table = scoring.table(found)
    assert table.splitlines()[0] == "| method | search, whole | search, last | held-out, whole | held-out, last |"
    assert f"| searched | {history.best_fitness:.3f} |" in table


# ------------------------------------------------------------------------------------------------ far out, and back


def test_search_tune_search_again(tmp_path):
    one = model()
    generator = torch.Generator().manual_seed(5)
    data = Rows(torch.randint(2, VOCABULARY, (2, 2 * L), generator=generator), ["text"] * 2)
    tuned = Tuned(data=data, plan=training.Plan(steps=1, rows=2, rate=1e-2, log_every=1), folder=tmp_path / "tuning")
    seen = []

    def tune(given, path):
        seen.append((path, given.lm_head.weight.clone()))
        tuned(given, path)

    stages = search.extend_progressively(
        lambda factor: TextLoss(one, texts(2), factor), (2.0, 4.0), PLAN, tune, seeded(), starts=(0, 1, 2), folder=tmp_path, report=quiet()
    )
    assert [stage.factor for stage in stages] == [2.0, 4.0]
    ((path, before),) = seen
    best = stages[0].history.best
    assert path == stages[0].path and (path.max_factor, path.factors, path.start) == (2.0, best.factors, best.start)
    assert not torch.equal(before, one.lm_head.weight) and not any(isinstance(module, hf.Rotary) for module in one.modules())
    # The second search begins with the first one's best, times 2 for PI; it measures the tuned model.
    linear = stages[1].history.generations[0].genomes[0]
    assert linear.start == best.start and all(abs(a - 2 * b) < 1e-9 for a, b in zip(linear.factors, best.factors, strict=True))
    assert stages[1].history.best_fitness == TextLoss(one, texts(2), 4.0).loss(stages[1].history.best)
    assert (stages[0].history.space.limit, stages[1].history.space.limit) == (2.5, 5.0)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["stage-1", "stage-2", "tuning"]


def test_a_second_search_begins_with_products_that_never_fall():
    path = scaling.LongRoPE(head_dim=16, base=1e4, window=L, factors=GENOME.factors, max_factor=4.0, start=2)
    history = search.History(Space(PAIRS, 5.0), PLAN, (search.Generation(0, (GENOME,), (1.0,)),))
    linear, ntk, yarn = search.progressive.further(Stage(4.0, history, path), 8.0, Space(PAIRS, 10.0))
    more = scaling.YaRN(head_dim=16, base=1e4, window=4 * L).ratio(2.0)
    for index in range(PAIRS):
        assert math.isclose(linear.factors[index], 2 * GENOME.factors[index])
        assert math.isclose(ntk.factors[index], 2 ** (2 * index / 14) * GENOME.factors[index])
        assert math.isclose(yarn.factors[index], GENOME.factors[index] / float(more[index]))
    assert all(list(genome.factors) == sorted(genome.factors) and genome.start == 2 for genome in (linear, ntk, yarn))


def test_a_second_search_begins_inside_its_limit_where_that_is_off_the_grid():
    # 1.25 · 3.1 = 3.875 is between 3.87, the last point of the grid, and 3.88, which is as near.
    factor, found = 3.1, Genome((1.0,) * (PAIRS - 1) + (2.5,), 2)
    path = scaling.LongRoPE(head_dim=16, base=1e4, window=L, factors=found.factors, max_factor=2.0, start=2)
    stage = Stage(2.0, search.History(Space(PAIRS, 2.5), PLAN, (search.Generation(0, (found,), (1.0,)),)), path)
    space = Space(PAIRS, 1.25 * factor)
    with pytest.raises(ValueError, match="outside"):
        space.nearest(Genome((1.0,) * (PAIRS - 1) + (2.5 * factor / 2,), 2))
    first = search.progressive.further(stage, factor, space)
    assert [space.nearest(genome).factors[-1] for genome in first] == [3.87] * 3
    # What rounding does not explain is refused, not moved.
    with pytest.raises(ValueError, match="outside"):
        space.nearest(search.progressive.further(stage, 3.2, space)[0])


def test_a_fitness_of_another_model_at_another_factor_is_refused_before_anything_is_searched_or_tuned():
    def nothing(given, path):
        raise AssertionError

    with pytest.raises(ValueError, match=r"fitness[(]4[)] measures another model than fitness[(]2[)]"):
        search.extend_progressively(lambda factor: TextLoss(model(), texts(2), factor), (2.0, 4.0), PLAN, nothing, seeded())


@pytest.mark.parametrize("factors", [(), (1.0, 2.0), (4.0, 2.0), (2.0, 2.0), (2.0, math.inf)])
def test_extensions_that_do_not_rise_are_refused(factors):
    with pytest.raises(ValueError, match="rise from above 1"):
        search.extend_progressively(lambda factor: None, factors, PLAN, lambda model, path: None, seeded())


def test_short_texts_get_divisors_of_their_own_within_a_smaller_limit():
    one = model()
    fitness = TextLoss(one, texts(2, length=L), 1.0, at=1.25)
    history = search.readjust(fitness, GENOME, PLAN, seeded(), starts=(0, 1, 2), report=quiet())
    first = history.generations[0].genomes
    assert first[0] == Genome((1.0,) * PAIRS) and first[1].start == 2 and first[1].factors[-1] == 1.25
    assert history.best_fitness <= history.generations[0].fitness[0]
    assert all(max(genome.factors) <= 1.25 * 1.25 for genome in history.fitness)
    long = TextLoss(one, texts(2), 4.0).path(GENOME)
    both = Readjusted((fitness.path(history.best), long), (L, 4 * L))
    assert both.path_for(1) == both.path_for(L) == fitness.path(history.best) and both.path_for(L + 1) == long
    with pytest.raises(ValueError, match="length 65 exceeds 64"):
        both.path_for(65)
    with pytest.raises(ValueError, match="rising"):
        Readjusted((long, long), (L, L))
