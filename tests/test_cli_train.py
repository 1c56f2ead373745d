"""`clexlab train`: shipped configs, a model with a method, an interrupted one, and everything that is refused."""

import shutil

import pytest
import torch
from transformers import AutoTokenizer

import clexlab
from clexlab import base, bpe, cli, corpora, hf, pocket, positions, recipes, results, rows, training
from clexlab.commands import train

PLAN = {"steps": 2, "rows": 2, "rate": 1e-3, "log_every": 1, "save_every": 1}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Texts, of which some are held out, and a config that trains the pocket model on them."""
    root = tmp_path_factory.mktemp("train")
    (root / "texts").mkdir()
    for number in range(24):
        (root / "texts" / f"{number}.txt").write_text("".join(f"{number} and {number + line} make {line}.\n" for line in range(60)))
    return root


def write(shelf, name="small", **changes):
    """A config in TOML; `table__key=value` changes one key, None leaves it out."""
    tables = {
        "": {"model": str(pocket.FOLDER)},
        "text": {"source": str(shelf / "texts")},
        "rows": {"length": 128, "shares": {"text": 0.5, "copy": 0.5}},
        "plan": dict(PLAN),
    }
    for place, value in changes.items():
        table, _, key = place.rpartition("__")
        tables.setdefault(table, {})[key] = value
    lines = []
    for table, keys in tables.items():
        lines += [f"[{table}]"] if table else []
        lines += [f"{key} = {toml(value)}" for key, value in keys.items() if value is not None]
    file = shelf / f"{name}.toml"
    file.write_text("\n".join(lines))
    return file


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    return repr(value).replace("'", '"')


def status(arguments):
    try:
        return cli.main([str(argument) for argument in ("train", *arguments)])
    except SystemExit as end:
        return end.code


CLEX = dict(
    method__name="clex", method__max_factor=4.0, method__prior="yarn",
    positions__name="skip_wise", positions__factors="log_uniform", positions__up_to=4.0, positions__per_row=True,
    positions__diluted=True,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------ what is made


def test_a_method_is_trained_saved_measured_and_recorded(shelf, tmp_path, capfd):
    config = write(shelf, "clex_small", **CLEX, measure__texts=1, measure__factors=[1, 2])
    assert status([config, "--out", tmp_path / "out", "--seed", "3"]) == 0
    out = capfd.readouterr().out
    # Four of the 24 names are held out.
    assert "20 documents" in out.splitlines()[0] and "step      2 of 2" in out
    model, tokenizer = clexlab.load(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    path = hf.rotary_of(model).scaling
    assert (path.name, path.max_factor, path.prior.name, path.window) == ("clex", 4.0, "yarn", 128)
    assert len(tokenizer) == 257
    (record,) = results.read_all("clex_small", tmp_path / "out")
    assert record.run == "clex_small-seed3" and record.tokens == 2 * 2 * 128 and record.config["plan"]["seed"] == 3
    assert [entry["step"] for entry in record.metrics["curve"]] == [1, 2]
    assert "PerRow(sampler=Diluted(sampler=SkipWise(window=128" in record.config["positions"] and record.config["path"]["name"] == "clex"
    assert sorted(place.name for place in tmp_path.iterdir()) == ["out"]
    # Texts and model are told by name: where they lie on this machine is nobody's business.
    assert record.config["corpus"] == {"source": "texts", "part": "train"} and record.config["model"] == "pocket"
    assert str(shelf) not in repr(record) and str(pocket.FOLDER) not in repr(record)


OPTIONS = [
    (dict(name="contiguous"), positions.Contiguous(factors=positions.FixedFactor(4.0))),
    (dict(name="random_pos"), positions.RandomPos(window=128, factors=positions.FixedFactor(4.0))),
    (dict(name="scattered", factors="whole", up_to=4), positions.Scattered(window=128, factors=positions.WholeFactors(4))),
    (dict(name="e2_llm", factors="whole", up_to=4), positions.E2LLM(window=128, factors=positions.WholeFactors(4))),
    (dict(name="e2_llm", fixed=0), positions.E2LLM(window=128, factors=positions.FixedFactor(4.0), fixed=0)),
    (dict(name="skip_wise", chunks=3), positions.SkipWise(window=128, factors=positions.FixedFactor(4.0), chunks=3)),
    (dict(name="skip_wise", cut="anywhere"), positions.SkipWise(window=128, factors=positions.FixedFactor(4.0))),
    (
        dict(name="skip_wise", cut="first_half", per_row=True),
        positions.PerRow(positions.SkipWise(window=128, factors=positions.FixedFactor(4.0), cut=positions.FirstHalf())),
    ),
]


@pytest.mark.parametrize(("given", "sampler"), OPTIONS, ids=[str(given) for given, _ in OPTIONS])
def test_positions_and_their_options_are_the_samplers_of_the_library(shelf, given, sampler):
    table = {f"positions__{key}": value for key, value in {"factors": "fixed", "up_to": 4.0, **given}.items()}
    assert recipes.read(write(shelf, "positions", method__name="yarn", **table)).positions.build(128) == sampler


@pytest.mark.parametrize("name", [kind.name for kind in positions.SAMPLERS])
def test_every_sampler_trains_from_its_name(shelf, tmp_path, name):
    config = write(
        shelf, name, method__name="yarn", positions__name=name, positions__factors="whole", positions__up_to=4, plan__steps=1,
        plan__rows=1,
    )  # fmt: skip
    assert status([config, "--out", tmp_path / "out"]) == 0
    (record,) = results.read_all(name, tmp_path / "out")
    assert record.config["positions"].startswith({kind.name: kind.__name__ for kind in positions.SAMPLERS}[name])


def test_an_interrupted_training_goes_on_to_the_same_weights(shelf, tmp_path, capfd):
    config = write(shelf, "resumed", **CLEX)
    assert status([config, "--out", tmp_path / "whole"]) == 0
    ready = []
    prepare = train.prepare

    def keep(*arguments):
        ready.append(prepare(*arguments))
        return ready[-1]

    class Interrupted(training.Lines):
        def on_save(self, args, state, control, **kwargs):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Lines", Interrupted)
        assert status([config, "--out", tmp_path / "out"]) == 130
    assert not (tmp_path / "out").exists() and (tmp_path / "out.training" / "checkpoint-1").is_dir()
    capfd.readouterr()
    for arguments, words in (([], "go on with --resume"), (["--resume", "--seed", "1"], "seed was 0, is 1")):
        assert status([config, "--out", tmp_path / "out", *arguments]) == 2
        assert words in capfd.readouterr().err
    assert status([config, "--out", tmp_path / "out", "--resume"]) == 0
    one, two = (clexlab.load(tmp_path / name).state_dict() for name in ("whole", "out"))
    assert all(torch.equal(one[name], weight) for name, weight in two.items())
    assert not (tmp_path / "out.training").exists()


def test_a_trained_model_can_be_trained_further(shelf, tmp_path, capfd):
    assert status([write(shelf, "first", **CLEX), "--out", tmp_path / "first"]) == 0
    assert status([write(shelf, "second", model=str(tmp_path / "first")), "--out", tmp_path / "second"]) == 0
    assert hf.rotary_of(clexlab.load(tmp_path / "second")).scaling.name == "clex"
    again = write(shelf, "third", model=str(tmp_path / "first"), method__name="yarn")
    capfd.readouterr()
    assert status([again, "--out", tmp_path / "third"]) == 2
    assert "was saved with clex" in capfd.readouterr().err


def test_a_tokenizer_is_trained_by_its_config(shelf, tmp_path):
    (shelf / "words.toml").write_text(f'[text]\nsource = "{shelf / "texts"}"\n[tokenizer]\nsize = 260\n')
    assert status([shelf / "words.toml", "--out", tmp_path / "words"]) == 0
    assert len(bpe.load(tmp_path / "words")) == 260


# ------------------------------------------------------------------------------------------------ shipped configs


@pytest.mark.parametrize("name", recipes.SHIPPED)
def test_every_shipped_config_can_be_read(name):
    recipe = recipes.read(name)
    assert recipe.name == name and recipe.text.source == corpora.STANDARD_LIBRARY
    if isinstance(recipe, recipes.Training) and recipe.positions is not None:
        recipe.positions.build(base.WINDOW)


def test_the_help_names_every_shipped_config(capfd):
    assert status(["--help"]) == 0
    told = " ".join(capfd.readouterr().out.split())
    named = told.partition("a shipped one: ")[2].partition(" options:")[0]
    assert sorted(named.split(", ")) == list(recipes.SHIPPED)


@pytest.mark.parametrize("stage", ["base", "keys"])
def test_the_last_stages_of_the_shipped_model_are_as_their_records_say(stage):
    recipe = recipes.read(stage)
    (record,) = results.read_all(stage)
    planned = vars(recipe.planned(seed=0, device="cpu"))
    assert {name: record.config["plan"][name] for name in planned} == planned
    assert record.config["row_length"] == recipe.rows.length == base.WINDOW
    assert record.config["shares"] == recipe.rows.shares
    assert (record.config["dtype"], record.config["config"]) == (recipe.dtype, stage)


def test_each_stage_goes_on_from_the_one_before():
    assert [recipes.read(stage).model for stage in ("words", "recall", "base", "keys")] == ["fresh", "words", "recall", "./base"]
    assert recipes.read("base").rows.shares == base.SHARES


def test_the_library_by_its_word_has_the_train_half_the_base_was_trained_on():
    assert corpora.split(corpora.load(corpora.STANDARD_LIBRARY), "train").documents == corpora.standard_library("train").documents


# ------------------------------------------------------------------------------------------------ bad input

BAD = [
    (dict(model=None), "model is missing"),
    (dict(model="nowhere/at/all"), "nowhere/at/all is missing"),
    (dict(modle="x"), "this config has modle; there are model"),
    (dict(dtype="float8"), "dtype has float8; there are float32, bfloat16"),
    (dict(text__source="nowhere"), "nowhere is missing; give standard-library, a folder"),
    (dict(text__source=3), "text.source is 3; give a word in quotes"),
    (dict(text__source=None), "text has no source"),
    (dict(text__field="body"), "a folder, which has no field"),
    (dict(rows__length=1), "rows.length is 1"),
    (dict(rows__lenght=8), "rows has lenght; there are length, shares"),
    (dict(rows__length=100_000), "none of"),
    (dict(rows__shares={"text": 0.5}), "add up to 1"),
    (dict(rows__shares={"texts": 1.0}), "rows.shares has texts; there are text, passkey, keys, copy"),
    (dict(plan__steps=None), "plan has no steps"),
    (dict(plan__steps=-1), "steps is -1"),
    (dict(plan__rate="fast"), "plan.rate is 'fast'; give a number"),
    (dict(plan__rows=True), "plan.rows is True; give a whole number"),
    (dict(CLEX, positions__per_row="yes"), "positions.per_row is 'yes'; give true or false"),
    (dict(plan__seed=1), "plan has seed"),
    (dict(method__name="yawn"), "no scaling is named 'yawn'"),
    (dict(method__max_factor=2.0), "method has no name"),
    (dict(method__name="yarn", method__speed=1), "yarn has no option 'speed'"),
    (dict(method__name="clex", method__prior="yawn"), "no scaling is named 'yawn'"),
    (dict(positions__name="skip_wise", positions__factors="log_uniform", positions__up_to=2.0), "[positions] without [method]"),
    (dict(CLEX, positions__name="skipping"), "positions.name has skipping; there are contiguous, scattered, skip_wise"),
    (dict(CLEX, positions__factors="loguniform"), "positions.factors has loguniform"),
    (dict(CLEX, positions__up_to=0.5), "0.5"),
    (dict(CLEX, positions__up_to=8.0), "8"),
    (dict(CLEX, positions__up_to=None), "positions has no up_to"),
    (dict(CLEX, positions__name="scattered", positions__chunks=3), "scattered has no chunks; skip_wise has"),
    (dict(CLEX, positions__name="contiguous", positions__chunks=3), "contiguous has no chunks; skip_wise has"),
    (dict(CLEX, positions__name="random_pos", positions__cut="anywhere"), "random_pos has no cut; skip_wise has"),
    (dict(CLEX, positions__fixed=2), "skip_wise has no fixed; e2_llm has"),
    (dict(CLEX, positions__name="e2_llm", positions__fixed=-1), "fixed is -1"),
    (dict(CLEX, positions__cut="middle"), "positions.cut has middle; there are anywhere, first_half"),
    (dict(CLEX, positions__cut=2), "positions.cut is 2; give a word in quotes"),
    (dict(CLEX, positions__cut="first_half", positions__chunks=3), "makes at most 2; use Anywhere() for more"),
    (dict(CLEX, positions__chunks=0), "chunks is 0"),
    (dict(CLEX, rows__length=160), "length is 160 and the window 128"),
    (dict(measure__texts=0, measure__factors=[1]), "measure.texts is 0"),
    (dict(measure__texts=1, measure__factors=[0.5]), "measure.factors is [0.5]"),
    (dict(measure__texts=10_000, measure__factors=[1]), "10000 were asked for"),
]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_input_is_one_line_status_2_and_nothing_written(shelf, tmp_path, capfd, changes, words):
    assert status([write(shelf, "bad", **changes), "--out", tmp_path / "out"]) == 2
    streams = capfd.readouterr()
    assert streams.out == "" and streams.err.count("\n") == 1 and words in streams.err, streams
    assert list(tmp_path.iterdir()) == []


def test_places_that_are_taken_or_empty_are_refused(shelf, tmp_path, capfd):
    config = write(shelf)
    (tmp_path / "there").mkdir()
    (tmp_path / "records" / "small").mkdir(parents=True)
    (tmp_path / "records" / "small" / "small-seed0.json").touch()
    (tmp_path / "not.toml").write_text("[plan")
    shipped = ", ".join(recipes.SHIPPED)
    for arguments, words in [
        ([config, "--out", tmp_path / "there"], "exists and is never overwritten"),
        ([config, "--out", tmp_path / "new", "--resume"], "no interrupted training"),
        ([config, "--out", tmp_path / "new", "--records", tmp_path / "records"], "records are never overwritten"),
        (["bases", "--out", tmp_path / "new"], f"bases is no config that can be read; give a TOML file, or one of {shipped}"),
        ([tmp_path / "not.toml", "--out", tmp_path / "new"], "is no TOML"),
        ([config], "--out"),
        ([config, "--out", tmp_path / "new", "--seed", "-1"], "--seed"),
    ]:
        assert status(arguments) == 2
        streams = capfd.readouterr()
        assert words in streams.err and streams.err.count("\n") == 1 and not (tmp_path / "new").exists()


def test_a_tokenizer_without_a_token_between_texts_is_refused(shelf):
    coder = pocket.tokenizer()
    assert [int(row[0]) for row in rows.encode(["a"], coder)] == [pocket.SEPARATOR]
    coder.bos_token = coder.eos_token = None
    with pytest.raises(ValueError, match="no token that begins or ends a text"):
        rows.encode(["a"], coder)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_before_anything_is_written(shelf, tmp_path, capfd):
    folder = tmp_path / "model"
    shutil.copytree(pocket.FOLDER, folder)
    coder = pocket.tokenizer()
    coder.add_tokens(["<|one more|>"])
    coder.save_pretrained(folder)
    assert status([write(shelf, "more", model=str(folder)), "--out", tmp_path / "out"]) == 2
    assert "the tokenizer has 258 tokens, the model 257" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == [folder]


def test_what_failed_midway_leaves_only_its_checkpoints(shelf, tmp_path, capfd, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    config = write(shelf, "full", plan__save_every=None)
    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    assert status([config, "--out", tmp_path / "out"]) == 1
    assert "No space left" in capfd.readouterr().err and not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path / "out.training")
    assert list(tmp_path.iterdir()) == []
