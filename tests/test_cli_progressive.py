"""`clexlab search --then`: search, tune, search, and back to short texts; an interrupted way, and what is refused."""

import pytest

from clexlab import cli, pocket, results
from clexlab.commands import progressive
from clexlab.corpora import is_held_out
from clexlab.search import History

RUN = "smoke-pocket-texts-2x-4x-seed0"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Texts of some 900 bytes, four of them held out; a token is a byte."""
    root = tmp_path_factory.mktemp("progressive") / "texts"
    root.mkdir()
    names = [f"{number}.txt" for number in range(60)]
    for name in [name for name in names if is_held_out(name)][:4] + [name for name in names if not is_held_out(name)][:6]:
        (root / name).write_text("".join(f"{name} and {len(name) + line} make {line}.\n" for line in range(40)))
    return root


def status(*arguments):
    try:
        return cli.main([str(argument) for argument in ("search", *arguments)])
    except SystemExit as end:
        return end.code


def usual(shelf, out, *more):
    return ("--model", pocket.FOLDER, "--text", shelf, "--profile", "smoke", "--factor", 2, "--then", 4, "--out", out, *more)


def test_the_way_there_and_back_is_recorded_and_goes_on_after_a_stop(shelf, tmp_path, capfd, monkeypatch):
    assert status(*usual(shelf, tmp_path / "whole")) == 0
    said = capfd.readouterr().out
    assert "| after tuning | each length its own |" in said
    (record,) = results.read_all("progressive", tmp_path / "whole")
    metrics = record.metrics
    assert record.run == RUN and record.config["factors"] == [2.0, 4.0] and record.tokens == 2 * 16 * 128
    assert set(metrics["stages"]) == {"2", "4"}
    assert set(metrics["after"]) == {"untouched", "yarn", "searched 2x", "searched 4x", "readjusted"}
    for stage in (*metrics["stages"].values(), metrics["short"]):
        history = History.from_dict(stage["history"])
        assert history.best.to_dict() == stage["best"] and history.best_fitness == stage["fitness"]
    # The second search begins where the first ended, further on: its divisors are larger.
    assert History.from_dict(metrics["stages"]["4"]["history"]).space.limit == 5.0
    assert metrics["by_length"] == {
        "1": metrics["after"]["readjusted"]["1"], "2": metrics["after"]["searched 2x"]["2"], "4": metrics["after"]["searched 4x"]["4"]
    }
    # Tuned: the same path reads otherwise than before.
    assert metrics["before"]["yarn"] != metrics["after"]["yarn"]
    assert not set(record.config["search_documents"]) & set(record.config["held_out_documents"])
    assert [place.name for place in (tmp_path / "whole" / ".search").glob("*")] == []
    assert str(shelf) not in repr(record) and status(*usual(shelf, tmp_path / "whole")) == 2
    assert "exists; records are never overwritten" in capfd.readouterr().err

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    # Stopped before the last search: both others and the tuned weights are there, and nothing of them is done again.
    with monkeypatch.context() as patch:
        patch.setattr(progressive, "readjust", stop)
        assert status(*usual(shelf, tmp_path / "out")) == 130
    assert not (tmp_path / "out" / "progressive").exists()
    capfd.readouterr()
    assert status(*usual(shelf, tmp_path / "out")) == 2 and "go on with --resume" in capfd.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(progressive.Tuned, "__call__", stop)
        assert status(*usual(shelf, tmp_path / "out", "--resume")) == 0
    (resumed,) = results.read_all("progressive", tmp_path / "out")
    assert resumed.metrics == metrics


@pytest.mark.parametrize(
    "more, words",
    [
        (("--factor", "4", "--then", "2"), "go on to a larger one"),
        (("--factor", "1.5"), "tune at a whole factor"),
        (("--resume",), "is not there; start without --resume"),
        (("--then", "64"), "no text is long enough"),
    ],
)
def test_what_cannot_be_gone_is_one_line_and_status_2_and_nothing_is_written(more, words, shelf, tmp_path, capfd):
    assert status(*usual(shelf, tmp_path / "out", *more)) == 2
    out, err = capfd.readouterr()
    assert words in err and err.count("\n") == 1 and not out
    assert not (tmp_path / "out").exists()
