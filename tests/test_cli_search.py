"""`clexlab search`: what it finds and writes, an interrupted search, and everything that is refused."""

import shutil

import pytest
import torch

import clexlab
from clexlab import cli, corpora, pocket, results, scaling, search
from clexlab.commands import search as command
from clexlab.search import History


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Texts of some 900 bytes; a token is a byte."""
    root = tmp_path_factory.mktemp("search") / "texts"
    root.mkdir()
    for number in range(4):
        (root / f"{number}.txt").write_text("".join(f"{number} and {number + line} make {line}.\n" for line in range(40)))
    return root


def status(*arguments):
    try:
        return cli.main([str(argument) for argument in ("search", *arguments)])
    except SystemExit as end:
        return end.code


def usual(shelf, out, *more):
    """The pocket model, window 128, at 256 tokens, six genomes."""
    return ("--model", pocket.FOLDER, "--text", shelf, "--profile", "smoke", "--out", out, *more)


RUN = "smoke-pocket-texts-2x-seed0"


def test_a_search_is_scored_on_documents_it_never_saw_and_recorded(shelf, tmp_path, capfd):
    assert status(*usual(shelf, tmp_path)) == 0
    out = capfd.readouterr().out
    assert "generation   2 of 2" in out and "| searched |" in out and "1 documents to search on, 2 others held out" in out
    (record,) = results.read_all("search", tmp_path)
    assert (record.run, record.seed, record.config["window"], record.config["factor"]) == (RUN, 0, 128, 2.0)
    metrics = record.metrics
    history = History.from_dict(metrics["history"])
    assert history.best.to_dict() == metrics["best"] and len(history.fitness) == metrics["evaluations"] == 6
    assert history.space.limit == 2.5 and history.space.starts == (0, 1, 2, 4, 8)
    assert list(history.best_by_generation) == metrics["best_by_generation"] and len(metrics["held_out_by_generation"]) == 2
    methods = metrics["methods"]
    assert methods["searched"]["search"]["whole"] == history.best_fitness == metrics["best_by_generation"][-1]
    assert methods["searched"]["held_out"]["whole"] == metrics["held_out_by_generation"][-1]
    assert not set(record.config["search_documents"]) & set(record.config["held_out_documents"])
    assert record.tokens == 6 * 256 and record.config["note"]
    assert record.config["left_out"] is None and "left out" not in record.protocol
    # Nothing is left beside the record, and no path of this machine is in it.
    assert [place.name for place in tmp_path.iterdir()] == ["search"]
    assert str(shelf) not in repr(record) and str(pocket.FOLDER) not in repr(record)
    # The record's path is the one that was measured.
    best, head_dim = history.best, 2 * history.space.pairs
    path = scaling.LongRoPE(head_dim=head_dim, base=1e4, window=128, factors=best.factors, max_factor=2.0, start=best.start)
    assert path.attention_scale(2.0) == methods["searched"]["temperature"]
    assert status(*usual(shelf, tmp_path)) == 2
    assert "exists; records are never overwritten" in capfd.readouterr().err


def test_another_text_or_window_needs_no_other_seed(shelf, tmp_path, capfd):
    more = shelf.parent / "more"
    shutil.copytree(shelf, more)
    for text, window in ((shelf, ()), (more, ()), (more, ("--window", 64))):
        assert status(*usual(text, tmp_path, *window)) == 0
    wanted = {RUN.replace("texts", name) for name in ("texts", "more", "more-window64")}
    assert {one.run for one in results.read_all("search", tmp_path)} == wanted


def test_of_the_standard_library_no_tables_are_searched_on_or_scored_on(tmp_path, capfd, monkeypatch):
    names = (f"{folder}{number}.py" for number in range(60) for folder in ("encodings/", ""))
    documents = [corpora.Document(name=name, text=f"{name}: one and two make three.\n" * 20) for name in names]
    held_out = [one.name for one in documents if corpora.is_held_out(one.name)]
    assert sum(name.startswith("encodings/") for name in held_out) > 1 and sum(not name.startswith("encodings/") for name in held_out) > 2
    monkeypatch.setattr(command, "corpus_of", lambda options: corpora.Corpus(source="made up", documents=tuple(documents)))
    assert status("--model", pocket.FOLDER, "--profile", "smoke", "--out", tmp_path) == 0
    (record,) = results.read_all("search", tmp_path)
    used = record.config["search_documents"] + record.config["held_out_documents"]
    assert len(used) == 3 and set(used) <= {name for name in held_out if not name.startswith("encodings/")}
    assert record.run == "smoke-pocket-2x-seed0" and record.config["left_out"] == "encodings/"
    assert "documents of encodings/ are left out" in record.protocol
    left = [one for one in documents if one.name in held_out and not one.name.startswith("encodings/")]
    assert record.config["text_fingerprint"] == corpora.Corpus(source="", documents=tuple(left)).fingerprint


def test_an_interrupted_search_goes_on_to_the_same_record(shelf, tmp_path, capfd, monkeypatch):
    assert status(*usual(shelf, tmp_path / "whole")) == 0

    class Interrupted(search.Lines):
        def generation(self, generation):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "Lines", Interrupted)
        assert status(*usual(shelf, tmp_path / "out")) == 130
    assert (tmp_path / "out" / ".search" / RUN / "search.json").is_file() and not (tmp_path / "out" / "search").exists()
    capfd.readouterr()
    assert status(*usual(shelf, tmp_path / "out")) == 2
    assert "go on with --resume" in capfd.readouterr().err
    assert status(*usual(shelf, tmp_path / "out", "--resume")) == 0
    out = capfd.readouterr().out
    assert "generation   2 of 2" in out and "generation   1 of 2" not in out
    (whole,), (resumed,) = (results.read_all("search", tmp_path / name) for name in ("whole", "out"))
    assert whole.metrics == resumed.metrics
    assert [place.name for place in (tmp_path / "out").iterdir()] == ["search"]


@pytest.mark.parametrize(
    "more, words",
    [
        (("--factor", "1"), "nothing to search, use a factor above 1"),
        (("--factor", "0.5"), "is not a factor"),
        (("--factor", "1.001"), "no whole number of tokens"),
        (("--factor", "8"), "no text is long enough"),
        (("--profile", "big"), "invalid choice: 'big'"),
        (("--seed", "-1"), "no seed"),
        (("--resume",), "no interrupted search"),
        (("--model", "nowhere/at/all"), "nowhere/at/all is missing"),
        (("--text", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--device", "tpu"), "invalid choice: 'tpu'"),
    ],
)
def test_what_cannot_be_searched_is_one_line_and_status_2_and_nothing_is_written(more, words, shelf, tmp_path, capfd):
    assert status(*usual(shelf, tmp_path / "out", *more)) == 2
    out, err = capfd.readouterr()
    assert words in err and err.count("\n") == 1 and err.startswith("clexlab") and not out
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_extended_already_is_refused(shelf, tmp_path, capfd):
    model, _ = pocket.load()
    clexlab.extend(model, clexlab.hf.scaling_for(model, scaling.YaRN))
    model.save_pretrained(tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(pocket.FOLDER / name, tmp_path / "saved" / name)
    assert status(*usual(shelf, tmp_path / "out", "--model", tmp_path / "saved")) == 2
    assert "was saved with yarn; a search starts from a plain model" in capfd.readouterr().err
    assert not (tmp_path / "out").exists() and torch.is_grad_enabled()
