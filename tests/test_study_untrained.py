"""Without training: every map has a row alone and one with YaRN, claims are answered text by text, what is absent is named."""

import math
from dataclasses import replace

import pytest
import torch
from study_records import record
from study_tiny import TINY, WINDOW, material, place, quiet

from clexlab import cli, hf, results, study
from clexlab.positions import maps
from clexlab.study import runs, untrained
from clexlab.study.untrained_claims import CLAIMS, Claim, answers, missing

NEW = [row for row in study.UNTRAINED if isinstance(row.reading, study.Mapped)]
QUICK = replace(TINY, texts=1, trials=1, depths=(0.5,), recall_factors=(1.0, 2.0), seeds=(1, 2))
CLAIM = Claim(paper="https://arxiv.org/abs/0", says="better", one="a", other="b", factors=("1", "8"), measures=("last", "passkey"))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return material(tmp_path_factory.mktemp("base") / "tiny")


SOME = ("untouched", "truncation", "yarn", "rerope", "self-extend", "dual-chunk", "sinks", "self-extend-yarn", "self-extend-yarn-twice")


@pytest.fixture(scope="module")
def out(given, tmp_path_factory):
    """Some rows once."""
    folder, some = tmp_path_factory.mktemp("results"), [study.by_name(name, study.UNTRAINED) for name in SOME]
    outcome = study.run(QUICK, rows=some, given=given, out=folder, experiment="without_training", report=quiet)
    assert not outcome.failed and not outcome.left
    return folder


# ------------------------------------------------------------------------------------------------ what the rows are


def test_every_map_has_a_row_alone_and_one_with_yarn():
    names = {row.name for row in study.UNTRAINED}
    assert len(names) == len(study.UNTRAINED)
    assert {kind.name.replace("_", "-") + end for kind in maps.MAPS for end in ("", "-yarn")} <= names
    assert {"untouched", "truncation", "yarn"} <= names


def test_every_new_row_says_what_was_expected_and_nothing_is_trained():
    assert all(len(row.prediction) > 30 and row.about for row in NEW) and len(NEW) == len(study.UNTRAINED) - 3
    assert all(row.tuning is None for row in study.UNTRAINED)
    assert all(not row.against or study.by_name(row.against, study.UNTRAINED) for row in study.UNTRAINED)


def test_maps_alone_are_made_for_the_window_and_shared_work_for_four():
    for kind in maps.MAPS:
        name = kind.name.replace("_", "-")
        assert study.by_name(name, study.UNTRAINED).reading.made(256) == kind.default(256)
        shared = study.by_name(f"{name}-yarn", study.UNTRAINED).reading
        assert shared.made(256) == kind.default(1024) and shared.factor == 4.0 and shared.path == study.Closed(study.methods.scaling.YaRN)


def test_rows_of_gali_differ_in_one_thing_each():
    default, *others = (
        study.by_name(name, study.UNTRAINED).reading.made(256) for name in ("gali", "gali-quiet", "gali-tail", "gali-chunk")
    )
    for one, other in zip((default, *others), others, strict=False):
        assert sum(getattr(one, name) != getattr(other, name) for name in ("window", "tail", "chunk", "noise")) == 1
    assert others[-1].chunk <= others[-1].tail < others[-2].chunk


def test_groups_of_eight_end_between_four_and_eight_windows():
    assert 4 * 256 < untrained.few_groups(256).longest < 8 * 256 < maps.SelfExtend.default(256).longest


def test_no_depth_of_a_trained_profile_puts_a_needle_among_the_first_tokens():
    most = max(maps.Sinks.default(256).sinks, maps.LMInfinite.default(256).starts)
    # The shortest text has a window; the question and the needle have fewer than fifty tokens each.
    assert min(study.profile_by_name("cpu").depths) * (256 - 100) > most


def test_recall_is_asked_for_at_every_length_up_to_the_profiles_largest():
    assert [untrained.profile_of(profile).recall_factors for profile in study.PROFILES] == [(1,), (1, 2, 4, 8), (1, 2, 4, 8, 16)]


# ------------------------------------------------------------------------------------------------ running


@pytest.mark.parametrize("row", NEW, ids=lambda row: row.name)
def test_every_row_reads_more_than_its_window(given, row):
    tokens = given.held_out[0][None, : 2 * WINDOW]
    with torch.no_grad():
        found = row.reading.prepare(given.model()).eval()(tokens).logits
        plain = given.model().eval()(tokens).logits
    assert found.isfinite().all() and not torch.allclose(found, plain)


def test_a_row_is_run_once_for_all_seeds_and_its_record_says_which_map_it_was(out):
    records = {record.config["row"]: record for record in results.read_all("without_training", out)}
    assert set(records) == set(SOME) and {record.seed for record in records.values()} == {0}
    for row in (row for row in NEW if row.name in SOME):
        config = records[row.name].config
        assert config["map"] == repr(row.reading.made(WINDOW)) and config["pinned"] == row.reading.factor
        assert set(records[row.name].metrics["passkey"]) == {"1", "2"}
    assert "map" not in records["yarn"].config
    assert records["self-extend-yarn"].metrics["scale"] == dict.fromkeys(("1", "2", "4", "8", "16"), 4.0)
    assert records["self-extend-yarn-twice"].metrics["scale"]["8"] == 8.0


def test_within_the_window_a_map_that_changes_nothing_there_is_the_model_itself(out):
    records = {record.config["row"]: record for record in results.read_all("without_training", out)}
    chunked, plain = records["dual-chunk"].metrics["last"], records["untouched"].metrics["last"]
    # Softmax over the same scores in another order of sums.
    assert chunked["1"] == pytest.approx(plain["1"], abs=1e-5) and chunked["8"] != plain["8"]


def test_a_reading_gives_the_model_its_map_and_the_noise_is_the_same_each_time(given):
    row = study.by_name("gali", study.UNTRAINED)
    tokens = given.held_out[0][None, : 3 * WINDOW]
    with torch.no_grad():
        one, other = (row.reading.prepare(given.model()).eval()(tokens).logits for _ in range(2))
        plain = given.model().eval()(tokens).logits
        model = row.reading.prepare(given.model()).eval()
        restored = hf.unmap(model)(tokens).logits
    assert torch.equal(one, other) and torch.equal(restored, plain) and not torch.allclose(one, plain)


def test_a_record_without_recall_at_a_length_is_not_taken_over(given, tmp_path):
    row = study.by_name("yarn")
    there = place(given, tmp_path, QUICK)
    found = runs.measure(there, row, 0, "study", "quick-yarn")
    assert runs.renamed(there, found, row, 0, "without_training", "quick-yarn") is not None
    wider = place(given, tmp_path, replace(QUICK, recall_factors=(1.0, 2.0, 4.0)))
    assert runs.renamed(wider, found, row, 0, "without_training", "quick-yarn") is None


def test_the_command_runs_untrained_rows_into_their_own_folder(given, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "shipped", lambda: given)
    monkeypatch.setattr(study, "profile_by_name", lambda name: replace(QUICK, name=name))
    words = ["run", "study", "--untrained", "--profile", "smoke", "--rows", "rerope", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    assert (tmp_path / "without_training" / "smoke-rerope.json").is_file()
    assert "| ReRoPE | – |" in capsys.readouterr().out
    assert cli.main(["run", "study", "--untrained", "--rows", "magic", "--out", str(tmp_path)]) == 2
    assert "no row is named 'magic'" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ claims beside records


def made(name, losses, found=(), title=""):
    one = record(name, title=title or name.upper())
    trials = {"8": {"0.9": list(found[2:]), "0.1": list(found[:2])}} if found else {}
    return replace(one, metrics={**one.metrics, "last_by_document": {"8": losses}, "passkey_by_trial": trials})


def test_losses_are_subtracted_text_by_text_and_recall_compared_trial_by_trial():
    records = [made("a", [2.0, 2.5, 3.0], [1, 1, 0, 1]), made("b", [3.0, 3.0, 4.0], [0, 1, 1, 0])]
    (gap, found) = answers(CLAIM, records)["8"]
    assert gap.by_text == (-1.0, -0.5, -1.0) and gap.error == pytest.approx(math.sqrt(1 / 12 / 3))
    assert str(gap) == "A − B: -0.833 ± 0.167 nats over 3 texts, lower"
    assert str(found) == "A and B: pass key found 3 and 2 of 4, 2 by the first alone, 1 by the second alone"
    assert list(answers(CLAIM, records)) == ["8"]


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [([3.0, 3.0, 4.0], "no difference at all"), ([3.5, 2.5, 4.1], "no difference seen"), ([4.0, 4.0, 5.1], "higher")],
)
def test_a_difference_within_twice_its_error_is_none(losses, verdict):
    (gap,) = answers(replace(CLAIM, measures=("last",)), [made("a", losses), made("b", [3.0, 3.0, 4.0])])["8"]
    assert gap.verdict == verdict


def test_one_text_decides_nothing():
    (gap,) = answers(replace(CLAIM, measures=("last",)), [made("a", [1.0]), made("b", [3.0])])["8"]
    assert gap.verdict == "one text decides nothing" and "±" not in str(gap)


def test_what_has_no_record_has_no_answer_and_is_named():
    assert answers(CLAIM, [made("a", [1.0])]) == {} and missing(CLAIM, [made("a", [1.0])]) == ["b"] and missing(CLAIM, []) == ["a", "b"]


def test_rows_of_other_texts_are_not_compared():
    other = made("b", [1.0, 2.0])
    other = replace(other, config={**other.config, "texts": 3})
    with pytest.raises(ValueError, match="differ in texts"):
        answers(CLAIM, [made("a", [1.0, 2.0]), other])


def test_every_claim_is_of_rows_of_the_table_and_of_lengths_that_are_measured():
    names = {row.name for row in study.UNTRAINED}
    for claim in CLAIMS:
        assert {claim.one, claim.other} <= names and claim.paper.startswith("https://")
        assert set(claim.factors) <= {"1", "2", "4", "8", "16"}
        assert set(claim.measures) <= {"last", "passkey", "copy"}


def test_answers_of_real_records_go_from_claims_to_sentences(out):
    records = results.read_all("without_training", out)
    said = [str(answer) for claim in CLAIMS for several in answers(claim, records).values() for answer in several]
    assert len(said) > 5 and all("one text decides nothing" in line or "found" in line or "no difference at all" in line for line in said)
