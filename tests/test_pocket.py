"""The pocket model: the folder it ships in, what its tokenizer and rows promise, two steps of training, its record's numbers again."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

import clexlab
from clexlab import corpora, evaluation, hf, pocket, pocket_clex, results, scaling

TEXT = 'def größe(x):\n\treturn "漢字\x00" + x  # <0x41>\r\n'


def small(**options: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(pocket.config(hidden_size=32, num_hidden_layers=1, intermediate_size=32, max_position_embeddings=16))


def trained(tmp_path, seed: int = 0, **options: object) -> tuple[LlamaForCausalLM, list[dict]]:
    documents = [TEXT * 3, "a short one"]
    return pocket.train(small(), documents, steps=2, seed=seed, device="cpu", scratch=tmp_path, **options)


@pytest.fixture(scope="module")
def shipped():
    return pocket.load()


# ------------------------------------------------------------------------------------------------ tokens and rows


def test_a_token_is_a_byte_and_every_text_comes_back(shipped):
    for tokenizer in (pocket.tokenizer(), shipped[1]):
        tokens = tokenizer(TEXT)["input_ids"]
        assert tokens == list(TEXT.encode())
        assert tokenizer.decode(tokens) == TEXT
        assert len(tokenizer) == 257 and tokenizer.eos_token_id == tokenizer.bos_token_id == pocket.SEPARATOR


def test_documents_are_encoded_as_the_tokenizer_does_with_the_separator_at_both_ends():
    (tokens,) = pocket.encode([TEXT])
    separator = "<|document|>"
    assert tokens.tolist() == pocket.tokenizer()(separator + TEXT + separator)["input_ids"]


def test_every_row_lies_inside_one_document_and_every_place_is_drawn(generator):
    """Tokens that name their document and place: 3 rows fit the first document, 1 the second, none the third."""
    documents = [torch.arange(0, 6), torch.arange(100, 104), torch.arange(200, 203)]
    drawn = pocket.rows(documents, 4, 2000, generator)
    assert bool((drawn.diff(dim=1) == 1).all())
    starts, counts = drawn[:, 0].unique(return_counts=True)
    assert starts.tolist() == [0, 1, 2, 100]
    # Binomial with probability 1/4: standard deviation 19.
    assert bool(((counts - 500).abs() < 80).all())


def test_rows_longer_than_all_documents_are_refused(generator):
    for documents in ([], [torch.arange(3)]):
        with pytest.raises(ValueError, match="give longer texts or shorter rows"):
            pocket.rows(documents, 4, 1, generator)


# ------------------------------------------------------------------------------------------------ training


def test_two_steps_train_and_a_seed_repeats_them_bit_for_bit(tmp_path):
    model, log = trained(tmp_path)
    again, _ = trained(tmp_path)
    other, _ = trained(tmp_path, seed=1)
    weights, start = model.state_dict(), small().state_dict()
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2]
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in weights.items())
    assert not torch.equal(weights["lm_head.weight"], start["lm_head.weight"])
    assert not torch.equal(weights["lm_head.weight"], other.state_dict()["lm_head.weight"])
    assert model.config.use_cache


def test_the_field_has_a_learning_rate_of_its_own(tmp_path):
    """At rate 0 the field stays where it is while the model moves, and the other way round."""
    for rate, field_rate in ((0.0, 1e-2), (1e-2, 0.0)):
        model = small()
        path = scaling.CLEX(head_dim=8, base=1e4, window=16, max_factor=4, field=fielded())
        clexlab.extend(model, path, positions=pocket_clex.Scattered(window=16, factors=pocket_clex.WholeFactors(4)))
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        options = dict(rate=rate, field=list(path.parameters()), field_rate=field_rate)
        pocket.train(model, [TEXT * 3], steps=3, seed=0, device="cpu", scratch=tmp_path, **options)
        moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
        field = {name for name in before if "scaling.field" in name}
        assert field and (moved <= field if rate == 0 else not moved & field) and moved


def fielded() -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    return clexlab.ode.fill_normal(clexlab.ode.BoundedField(4, generator=generator), 0.1, generator)


def test_what_exists_is_never_overwritten(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    for command in (pocket.main, pocket_clex.main):
        assert command(["--out", str(tmp_path / "model"), "--records", str(tmp_path / "records")]) == 2
        assert "model exists and is never overwritten" in capsys.readouterr().err
        assert command(["--out", str(tmp_path / "new"), "--steps", "0", "--records", str(tmp_path / "records")]) == 2
        assert "steps is 0" in capsys.readouterr().err
        # The shipped records are in the way of a second run with their seeds.
        assert command(["--out", str(tmp_path / command.__module__.split(".")[1])]) == 2
        assert "seed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="make one with python -m clexlab.pocket"):
        pocket.load(tmp_path)


# ------------------------------------------------------------------------------------------------ what is shipped


def test_the_shipped_model_is_small_float32_and_loads_in_plain_transformers(shipped):
    model, _ = shipped
    assert sum(path.stat().st_size for path in pocket.FOLDER.iterdir()) < 4e6
    plain = AutoModelForCausalLM.from_pretrained(pocket.FOLDER, local_files_only=True)
    assert {weight.dtype for weight in plain.parameters()} == {torch.float32} and not model.training
    assert AutoTokenizer.from_pretrained(pocket.FOLDER, local_files_only=True)("é")["input_ids"] == [0xC3, 0xA9]
    assert hf.geometry(model).window == pocket.WINDOW and hf.geometry(model).head_dim == 32
    assert model.config.use_cache


def test_the_shipped_model_has_the_losses_of_its_record(shipped):
    """On another version of the library other bytes are held out: then the numbers agree within their spread."""
    record = results.read(results.FOLDER / "pocket" / "pocket-seed0.json")
    count = 24
    measured = evaluation.loss_by_length(shipped[0], pocket.held_out(count), pocket.WINDOW, (1, 8), batch=8)
    same = corpora.standard_library("train").fingerprint == record.config["fingerprint"]
    for factor in ("1", "8"):
        found, noted = measured.at(float(factor)), record.metrics["last_by_document"][factor][:count]
        if same:
            # Float32 sums in another order, on another number of texts a batch.
            assert found.last_by_document == pytest.approx(noted, abs=1e-3)
        assert abs(found.last - record.metrics["last"][factor]) < 4 * found.last_error + 0.1


def test_the_shipped_model_is_good_inside_its_window_and_breaks_beyond():
    (record,) = results.read_all("pocket")
    last = record.metrics["last"]
    assert last["1"] < 1.2
    assert all(last[factor] > last["1"] + 1 for factor in ("2", "4", "8"))


def test_the_trained_clex_loads_with_a_field_that_learned_and_plain_transformers_refuses_it():
    model = clexlab.load(pocket_clex.FOLDER)
    path = hf.rotary_of(model).scaling
    record = results.read(results.FOLDER / "pocket_clex" / "clex-seed1.json")
    residual = path.residual(torch.tensor([float(t) for t in pocket_clex.FACTORS]))
    torch.testing.assert_close(residual, torch.tensor(record.metrics["residual"]), rtol=0, atol=1e-5)
    assert path.limit == pocket_clex.MAX_FACTOR and residual.abs().max() > 0
    with pytest.raises(KeyError, match="clexlab.load"):
        AutoModelForCausalLM.from_pretrained(pocket_clex.FOLDER, local_files_only=True)


def test_path_and_control_begin_as_the_same_zero_field_and_one_of_them_learns():
    learner, control = pocket_clex.fresh(3), pocket_clex.frozen(pocket_clex.fresh(3))
    assert all(torch.equal(weight, control.state_dict()[name]) for name, weight in learner.state_dict().items())
    assert not learner.residual(8.0).any() and learner.limit == pocket_clex.MAX_FACTOR
    assert {weight.requires_grad for weight in learner.parameters()} == {True}
    assert {weight.requires_grad for weight in control.parameters()} == {False}


def test_the_shipped_model_has_the_shape_that_is_written_down():
    (record,) = results.read_all("pocket")
    written = {name: value for name, value in record.config["model"].items() if name != "transformers_version"}
    assert {name: pocket.config().to_diff_dict()[name] for name in written} == written


def test_the_control_is_the_same_training_without_the_field():
    records = {name: results.read(results.FOLDER / "pocket_clex" / f"{name}-seed1.json") for name in ("clex", "control")}
    assert not torch.tensor(records["control"].metrics["residual"]).any()
    configs = [{**json.loads(json.dumps(record.config)), "field_rate": 0, "method": 0, "scaling": 0} for record in records.values()]
    assert configs[0] == configs[1] and records["clex"].tokens == records["control"].tokens
    assert records["clex"].metrics["training_loss"].keys() == records["control"].metrics["training_loss"].keys()
