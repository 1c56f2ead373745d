"""The families: every method has a row, all train alike, readings share a training, records hold what the lesson shows."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from study_tiny import quiet

from clexlab import biases, bpe, cli, figures, marks, results, scaling, small, sparse, study
from clexlab.positions import maps
from clexlab.study import families, family_claims, runs

WINDOW = 32
SHAPE = small.Config(vocabulary=bpe.SIZE, hidden=16, layers=2, heads=4, window=WINDOW)
TINY = replace(families.profile_by_name("smoke"), name="tiny", steps=1, rows=2, training_seconds=0.0, measuring_seconds=0.0)
NAMES = [row.name for row in study.FAMILIES]


@pytest.fixture(scope="module")
def given():
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(1, bpe.SIZE, (10 * WINDOW,), generator=generator) for _ in range(6)]
    about = dict(train=texts[:3], held_out=texts[3:], fingerprint="random tokens", tokenizer=bpe.load())
    return families.Fresh(folder=Path("small"), window=WINDOW, shape=SHAPE, **about)


@pytest.fixture(scope="module")
def out(given, tmp_path_factory):
    """Every row once; what it needs of memory is tested with the other studies, and not measured here."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.memory, "peak", lambda *given: 1)
        outcome = study.run(TINY, rows=study.FAMILIES, given=given, out=folder, experiment="families", report=quiet)
    assert not outcome.failed and not outcome.left
    return folder


@pytest.fixture
def records(out):
    return {record.config["row"]: record for record in results.read_all("families", out)}


def row_of(name):
    return study.by_name(name, study.FAMILIES)


# ------------------------------------------------------------------------------------------------ what the rows are


def test_every_bias_every_map_and_every_pattern_has_a_row():
    assert {row.tuning.bias for row in study.FAMILIES} == {None, *biases.BIASES}
    assert {row.tuning.mask for row in study.FAMILIES} == {None, *sparse.PATTERNS}
    read = [row.reading for row in study.FAMILIES if isinstance(row.reading, families.Reread)]
    assert {reading.positions for reading in read} == {None, *maps.MAPS}
    assert len(set(NAMES)) == len(NAMES) == 2 + len(maps.MAPS) + len(biases.BIASES) + len(sparse.PATTERNS)


def test_every_row_says_what_was_expected_and_no_prediction_is_of_no_row():
    assert set(families.PREDICTIONS) == set(NAMES)
    assert all(len(row.prediction) > 20 for row in study.FAMILIES)


def test_a_row_has_one_thing_that_tells_positions():
    for row in study.FAMILIES:
        places = row.tuning.places(SHAPE)
        assert (places.scaling is None) != (places.bias is None) and places.positions is None
        assert places.bias is None or places.pattern is None


def test_readings_of_rope_share_its_training():
    assert {row.tuning for row in study.FAMILIES if row.name.startswith("rope")} == {families.ROPE}
    assert len({row.tuning.name for row in study.FAMILIES}) == 1 + len(biases.BIASES) + len(sparse.PATTERNS)


def test_only_the_smoke_profile_has_fewer_than_three_seeds_and_says_so():
    for profile in families.PROFILES:
        assert profile.factors == (1.0, 2.0, 4.0, 8.0)
        assert len(profile.seeds) >= 3 or (profile.name == "smoke" and "nothing else" in profile.note)
    with pytest.raises(ValueError, match="there are smoke, cpu, gpu"):
        families.profile_by_name("tpu")


def test_near_is_within_the_window_and_far_is_beyond_it():
    filler = 8 * families.SHAPE.window - 3
    back = [filler - round(depth * filler) for depth in (families.NEAR, families.MIDDLE, families.FAR)]
    assert back[0] < families.SHAPE.window / 2 < 3 * families.SHAPE.window < back[1] < back[2]


def test_no_far_mark_stands_among_the_first_tokens_that_some_maps_keep():
    window = families.SHAPE.window
    kept = max(maps.Sinks.default(window).sinks, maps.LMInfinite.default(window).starts)
    assert round(families.FAR * (8 * window - 3)) >= 2 * kept


# ------------------------------------------------------------------------------------------------ what is trained


def test_the_rows_of_a_seed_are_text_and_marks_the_same_for_every_method(given):
    first, again, other = given.rows(1, 20), given.rows(1, 20), given.rows(2, 20)
    assert torch.equal(first.tokens, again.tokens) and not torch.equal(first.tokens, other.tokens)
    assert sorted(set(first.parts)) == ["mark", "text"] and first.parts.count("mark") == 8
    with pytest.raises(ValueError, match="text and marks, 0.6 and 0.4"):
        given.rows(1, 4, shares={"text": 1.0})


def test_models_begin_with_the_same_weights_but_for_a_learned_bias(given):
    plain = families.ROPE.start(given, 3).state_dict()
    for row in study.FAMILIES:
        for name, weight in row.tuning.start(given, 3).state_dict().items():
            assert ".biases." in name or torch.equal(weight, plain[name]), (row.name, name)
    assert not torch.equal(families.ROPE.start(given, 4).decoder.embedding.weight, plain["decoder.embedding.weight"])


def test_the_base_model_is_no_beginning(given):
    other = study.Material(folder=Path("base"), tokenizer=given.tokenizer, window=WINDOW, train=[], held_out=[], fingerprint="")
    with pytest.raises(ValueError, match="families.shipped"):
        families.ROPE.start(other, 1)


def test_every_row_runs_and_has_read_as_many_tokens(records):
    assert set(records) == set(NAMES)
    assert {record.tokens for record in records.values()} == {TINY.rows * WINDOW}
    assert all(set(record.metrics["last"]) == {"1", "2", "4", "8"} for record in records.values())


def test_interpolated_alibi_is_alibi_at_one_window_and_not_at_eight(records):
    plain, stretched = (records[f"bias-{name}"].metrics["last"] for name in ("alibi", "interpolated-alibi"))
    assert plain["1"] == stretched["1"] and plain["8"] != stretched["8"]


def test_yarn_is_rope_at_one_window_and_every_reading_differs_at_eight(records):
    plain = records["rope"].metrics["last"]
    assert records["rope-yarn"].metrics["last"]["1"] == plain["1"]
    others = [records[name].metrics["last"]["8"] for name in NAMES if name.startswith("rope-")]
    assert all(value != plain["8"] for value in others)


def test_a_reading_has_the_weights_of_the_training_and_the_places_of_the_row(given):
    model = families.ROPE.start(given, 1).eval()
    for row in study.FAMILIES:
        if isinstance(row.reading, families.Reread):
            read = row.reading.prepare(model)
            assert torch.equal(read.decoder.embedding.weight, model.decoder.embedding.weight)
            assert type(read.places.scaling) is row.reading.path and not read.training
            assert type(read.places.positions) is (row.reading.positions or type(None))
            assert getattr(read.places.positions, "noise", None) is None


# ------------------------------------------------------------------------------------------------ what records hold


def test_a_record_says_what_told_positions_and_how_it_was_read(records):
    assert records["bias-t5"].config["tuning"]["bias"] == "t5" and records["bias-t5"].config["tuning"]["rope"] is False
    assert "chunk=8" in records["sparse-local"].config["tuning"]["pattern"]
    assert records["rope-yarn"].config["read_with"] == {"path": "yarn", "positions": None}
    assert "noise=None" in records["rope-gali"].config["read_with"]["positions"]
    assert records["rope"].config["model"] == "small" and records["rope"].config["tuning"]["weights"] == "none"


def test_a_bias_is_recorded_by_layer_head_and_distance(records, given):
    with_bias = {name for name, record in records.items() if "bias" in record.metrics}
    assert with_bias == {name for name in NAMES if name.startswith("bias-")} - {"bias-cope"}
    found = records["bias-alibi"].metrics["bias"]
    assert found["distances"][0] == 0 and found["distances"][-1] == 8 * WINDOW - 1
    added = torch.tensor(found["added"], dtype=torch.float64)
    # One module for all layers, or one for each.
    assert added.shape == (1, SHAPE.heads, len(found["distances"]))
    assert len(records["bias-kerple-log"].metrics["bias"]["field"]) == SHAPE.layers
    wanted = -biases.slopes(4)[:, None] * torch.tensor(found["distances"])
    torch.testing.assert_close(added[0], wanted)
    assert all(value < 8 * WINDOW for layer in found["field"] for value in layer)


def test_the_table_sets_near_and_far_beside_the_loss(records):
    lines = study.near_and_far(list(records.values())).splitlines()
    assert lines[0] == "| method | seeds | 1× | 2× | 4× | 8× | mark 1× | near 8× | far 8× |"
    assert [line.split(" | ")[0][2:] for line in lines[2:]] == [row.title for row in study.FAMILIES]
    by_depth = {"1": {"0": 0.5, "0.95": 1.0}, "8": {"0": 0.0, "0.95": 1.0}}
    made = replace(records["rope"], metrics=records["rope"].metrics | {"mark_by_depth": by_depth})
    assert study.near_and_far([made]).splitlines()[2].endswith("| 75 % | 100 % | 0 % |")


def test_the_figure_draws_the_rows_asked_for(records):
    figure = figures.study(list(records.values()), ["rope", "bias-alibi"])
    assert {"RoPE", "ALiBi"} <= {trace.name for trace in figure.data}


def test_a_table_of_records_without_marks_is_refused(records):
    bare = {name: value for name, value in records["rope"].metrics.items() if name != "mark_by_depth"}
    with pytest.raises(ValueError, match="no record has mark by depth"):
        study.near_and_far([replace(records["rope"], metrics=bare)])


def test_a_training_is_known_again(given, out, tmp_path):
    place = runs.Place(material=given, profile=TINY, device="cpu", work=out / ".study")
    for row in (row_of("rope-sinks"), row_of("bias-fire"), row_of("sparse-s2")):
        assert place.is_trained(row.tuning, 1)
        assert isinstance(runs.trained(place, row.tuning, 1)[0], small.Small)


def test_trials_are_of_marks_in_held_out_text(given):
    first, again = given.marked(3, 100), given.marked(3, 100)
    assert [trial.task for trial in first] == ["mark"] * 3
    assert all(torch.equal(one.filler, other.filler) for one, other in zip(first, again, strict=True))
    assert all(any(bool((text.unfold(0, 20, 1) == trial.filler[:20]).all(1).any()) for text in given.held_out) for trial in first)
    assert torch.isin(first[0].needle, marks.tokens(bpe.SIZE)[1]).all()


def test_the_shipped_material_is_the_standard_library_and_no_base_model(monkeypatch):
    asked = study.Material(folder=Path("base"), tokenizer=bpe.load(), window=256, train=[], held_out=[], fingerprint="library")
    monkeypatch.setattr(families.material, "shipped", lambda: asked)
    found = families.shipped()
    assert found.window == families.SHAPE.window and found.fingerprint == "library" and found.weights == "none"
    assert isinstance(found.model(), small.Small) and found.model().places.scaling is None


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_runs_the_families_into_their_own_folder(given, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs.memory, "peak", lambda *given: 1)
    monkeypatch.setattr(families, "shipped", lambda: given)
    monkeypatch.setattr(families, "profile_by_name", lambda name: replace(TINY, name=name))
    words = ["run", "study", "--families", "--profile", "smoke", "--rows", "bias-alibi", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    assert (tmp_path / "families" / "smoke-bias-alibi-seed1.json").is_file()
    assert "| near 8× | far 8× |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--families", "--short"], "not allowed with"), (["--families", "--rows", "yarn"], "no row is named 'yarn'")],
)
def test_bad_input_of_the_command_is_one_line_and_status_two(tmp_path, capsys, arguments, told):
    try:
        status = cli.main(["run", "study", *arguments, "--out", str(tmp_path)])
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2 and told in error and len(error.strip().splitlines()) == 1


def test_the_path_is_the_base_of_every_reading():
    assert isinstance(families.rope(families.SHAPE), scaling.Identity) and families.rope(families.SHAPE).head_dim == 32


# ------------------------------------------------------------------------------------------------ claims


def made(record, seed, *, last8, far, near=1.0):
    metrics = {"last": {"1": 4.0, "8": last8}, "mark_by_depth": {"1": {"0": 1.0}, "8": {"0": far, "0.5": 0.5, "0.95": near}}}
    return replace(record, seed=seed, metrics=metrics)


def test_claims_are_of_rows_that_there_are_and_name_what_has_no_record(records):
    asked = {name for claim in family_claims.CLAIMS for each in claim.gaps for name in (each.one, each.other)}
    assert asked <= set(NAMES)
    for claim in family_claims.CLAIMS:
        assert claim.paper.startswith("https://arxiv.org/abs/")
        assert family_claims.missing(claim, []) and not family_claims.answers(claim, [])
        assert len(family_claims.answers(claim, list(records.values()))) == len(claim.gaps)
        assert not family_claims.missing(claim, list(records.values()))


def test_an_answer_is_the_difference_by_seed_and_says_whether_seeds_agree(records):
    one, other = records["bias-alibi"], records["rope"]
    claim = family_claims.Claim(
        paper=one.config["title"],
        says="",
        gaps=(family_claims.Gap("bias-alibi", "rope", "rise from 1× to 8×"), family_claims.Gap("bias-alibi", "rope", "far marks at 8×")),
    )
    several = [made(one, seed, last8=4.0 + 0.01 * seed, far=0.25 * seed) for seed in (1, 2, 3)]
    several += [made(other, seed, last8=4.5, far=0.5) for seed in (1, 2)]
    rise, far = family_claims.answers(claim, several)
    assert rise.by_seed == pytest.approx({1: -0.49, 2: -0.48}) and rise.verdict == "lower in every seed"
    assert far.by_seed == {1: -0.25, 2: 0.0} and far.verdict == "the seeds disagree"
    assert str(rise) == "rise from 1× to 8×: ALiBi − RoPE -0.485 [-0.490 … -0.480], lower in every seed"
    assert family_claims.answers(claim, several[:1] + several[3:4])[0].verdict == "one seed decides nothing"


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="choose one of loss at 1×"):
        family_claims.Gap("rope", "bias-alibi", "speed")
