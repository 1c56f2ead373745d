"""Records beside each other: mean and spread over seeds, and what must not be averaged."""

import statistics
from dataclasses import replace

import hf_models
import pytest
import torch

from clexlab import evaluation, results

WINDOW = 16


def record(method="yarn", seed=0, window=256, **metrics):
    metrics = metrics or {"last": {"1": 2.0 + seed, "16": 3.0}, "documents": 4}
    config = {"method": method, "window": window}
    return results.Record(experiment="study", run=f"{method}-seed{seed}-{window}", config=config, metrics=metrics, seed=seed, seconds=1.0)


def test_the_spread_is_that_of_single_runs():
    values = [1.0, 1.5, 2.5]
    spread = evaluation.by_method([record(seed=seed, last={"2": value}) for seed, value in enumerate(values)])["yarn"]["2"]
    assert (spread.mean, spread.deviation) == pytest.approx((statistics.mean(values), statistics.stdev(values)))
    assert (spread.low, spread.high, spread.seeds, spread.by_seed[1]) == (1.0, 2.5, 3, 1.5)
    single = evaluation.by_method([record()])["yarn"]["1"]
    assert (single.mean, single.deviation, str(single)) == (2.0, 0.0, "2.000")


def test_the_table_has_a_line_a_method_in_the_order_of_the_records():
    records = [record(seed=seed) for seed in (0, 1, 2)]
    records.append(record("base", last={"1": 1.25, "2": 1.5}))
    records += [record("pi", seed=0, last={"1": 1.0}), record("pi", seed=1, last={"1": 2.0, "2": 4.0})]
    lines = evaluation.seeds_table(records).splitlines()
    assert lines[0] == "| last | 1× | 2× | 16× | seeds |" and lines[1] == "| --- | --- | --- | --- | --- |"
    assert lines[2] == "| yarn | 3.000 ± 1.000 | – | 3.000 ± 0.000 | 3 |"
    assert lines[3] == "| base | 1.250 | 1.500 | – | 1 |"
    # A cell that not all seeds measured says so.
    assert lines[4] == "| pi | 1.500 ± 0.707 | 4.000 (1 of 2) | – | 2 |"


def test_any_metric_by_factor_can_be_the_measure():
    records = [record(seed=seed, passkey={"1": 1.0, "8": seed / 2}, documents=3, curve=[1, 2]) for seed in (0, 1)]
    assert "0.250 ± 0.354" in evaluation.seeds_table(records, "passkey")
    with pytest.raises(ValueError, match="no record has 'last' by factor; they have passkey$"):
        evaluation.seeds_table(records)


def test_what_cannot_stand_in_one_table_is_refused():
    with pytest.raises(ValueError, match="records is empty"):
        evaluation.seeds_table([])
    with pytest.raises(ValueError, match=r"windows \[128, 256\]"):
        evaluation.seeds_table([record(), record("pi", window=128)])
    with pytest.raises(ValueError, match="yarn-seed0-256 and again are both 'yarn' with seed 0"):
        evaluation.seeds_table([record(), replace(record(), run="again")])
    with pytest.raises(ValueError, match="names no method"):
        evaluation.seeds_table([replace(record(), config={})])


@pytest.fixture(scope="module")
def measured():
    model = hf_models.by_name("llama").build(window=WINDOW, vocab_size=200)
    tokens = [row[0] for row in hf_models.tokens(80, 90, 10)]
    trials = evaluation.copies(200, [torch.randint(1, 200, (200,), generator=torch.Generator().manual_seed(0))], 64, 2, torch.Generator())
    # Copies need a longer window than 16: the answer alone has 16 tokens.
    return (
        evaluation.measure(model, "tiny", tokens, WINDOW, (1, 2, 4), context=evaluation.Sliding(stride=5)),
        replace(evaluation.recall(model, trials, 64, (1,), (0.0, 0.5)), window=WINDOW),
    )


def test_a_record_gives_back_its_measurement(measured, tmp_path):
    one, _ = measured
    kept = evaluation.record(one, experiment="evaluate", run="tiny", config={}, seed=3, device="cpu")
    assert evaluation.loss_of(results.read(results.write(kept, tmp_path))) == one.result
    assert kept.config["context"] == "sliding" and kept.config["stride"] == 5
    older = replace(kept, metrics={name: value for name, value in kept.metrics.items() if name != "whole_by_document"})
    assert evaluation.loss_of(older).at(2).whole == pytest.approx(one.result.at(2).whole)
    with pytest.raises(ValueError, match="again of study holds no loss by length; it lacks last_by_document"):
        evaluation.loss_of(replace(record(), run="again"))


def test_a_record_takes_recall_beside_the_loss(measured, tmp_path):
    one, recalled = measured
    about = dict(experiment="evaluate", run="tiny", config={}, seed=3, device="cpu")
    kept = results.read(results.write(evaluation.record(one, **about, recalls=[recalled]), tmp_path))
    assert set(kept.metrics) == set(evaluation.record(one, **about).metrics) | set(recalled.metrics())
    assert set(kept.metrics["copy_by_depth"]["1"]) == {"0", "0.5"} and "copy" in evaluation.seeds_table([kept], "copy")
    for wrong in ([recalled, recalled], [replace(recalled, window=17)]):
        with pytest.raises(ValueError, match="one task or of another window"):
            evaluation.record(one, **about, recalls=wrong)


def test_the_table_of_the_whole_text_has_no_line_for_truncation(measured):
    one, _ = measured
    assert evaluation.table([one], "whole").splitlines()[-1].startswith("| tiny | ")
    assert evaluation.table([one]).splitlines()[-1].startswith("| tiny, last 16 tokens only | ")
    with pytest.raises(ValueError, match="measure is 'first'"):
        evaluation.table([one], "first")
