import json
import math
import shutil
import subprocess
import sys

import byte_tokenizer
import hf_models
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from clexlab import cli, corpora, evaluation, hf, results, scaling
from clexlab.commands import usage
from clexlab.hf import saving

WINDOW = 16
TEXTS = {f"{name}.txt": "".join(chr(97 + (seed * j * j + j) % 26) for j in range(length))
         for seed, (name, length) in enumerate({"long": 400, "longer": 500, "middle": 150, "short": 40}.items(), 1)}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Folders that commands read and never write to: texts and models, good and bad."""
    root = tmp_path_factory.mktemp("shelf")
    (root / "texts").mkdir()
    for name, text in TEXTS.items():
        (root / "texts" / name).write_text(text)
    (root / "words.txt").write_text("a file, no folder")
    llama = hf_models.by_name("llama").build(vocab_size=256, window=WINDOW)
    save(llama, root / "llama")
    hf.extend(llama, hf.scaling_for(llama, scaling.YaRN))
    save(llama, root / "saved")
    hf.restore(llama)
    hf.extend(llama, hf.scaling_for(llama, scaling.Linear), factor=4.0)
    save(llama, root / "pinned")
    hf.restore(llama)
    save(hf_models.by_name("llama").build(vocab_size=200), root / "few_tokens")
    for name, base in (("adapter", AutoModelForCausalLM.from_pretrained(root / "llama")), ("adapter_saved", saving.load(root / "saved"))):
        lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        save(peft.get_peft_model(base, lora), root / name)
    for refused in hf_models.REFUSED:
        if refused.name in ("gpt2", "yarn"):
            save(refused.build(), root / refused.name)
    break_copies(root)
    return root


def save(model, folder):
    model.save_pretrained(folder)
    byte_tokenizer.build().save_pretrained(folder)


def break_copies(root):
    """Copies of the good model, each broken in one way."""
    for name in ("no_tokenizer", "no_json", "pickled", "cut_weights", "no_head", "not_a_number"):
        shutil.copytree(root / "llama", root / name)
    for file in (root / "no_tokenizer").glob("tokenizer*"):
        file.unlink()
    (root / "no_json" / "config.json").write_text("{")
    weights = (root / "llama" / "model.safetensors").read_bytes()
    (root / "pickled" / "model.safetensors").unlink()
    torch.save({}, root / "pickled" / "pytorch_model.bin")
    (root / "cut_weights" / "model.safetensors").write_bytes(weights[:-1000])
    model = AutoModelForCausalLM.from_pretrained(root / "llama")
    states = {name: weight for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    model.save_pretrained(root / "no_head", state_dict=states)
    model.lm_head.weight.data.fill_(math.nan)
    model.save_pretrained(root / "not_a_number")
    for name in ("empty", "t5", "remote_code"):
        (root / name).mkdir()
    (root / "t5" / "config.json").write_text(json.dumps({"model_type": "t5"}))
    mapped = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M", "AutoTokenizer": "code.T"}
    (root / "remote_code" / "config.json").write_text(json.dumps({"model_type": "mystery", "auto_map": mapped}))
    (root / "remote_code" / "code.py").write_text("import pathlib; pathlib.Path(__file__).with_name('ran').touch()")


def status(arguments):
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def tree(folder):
    return sorted((str(path.relative_to(folder)), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


# ------------------------------------------------------------------------------------------------ evaluate


def test_evaluate_prints_the_comparison_of_the_package_and_nothing_else(shelf, capfd):
    arguments = ["--model", shelf / "llama", "--method", "linear", "yarn", "--factors", "1,2,4", "--text", shelf / "texts", "--seed", "3"]
    assert status(["evaluate", *arguments]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(shelf / "llama"), AutoTokenizer.from_pretrained(shelf / "llama")
    drawn = evaluation.sample(corpora.folder(shelf / "texts").documents, tokenizer, 64, 16, torch.Generator().manual_seed(3))
    rows = evaluation.compare(model, [hf.scaling_for(model, path) for path in (scaling.Linear, scaling.YaRN)], drawn.tokens, WINDOW, (2, 4))
    assert evaluation.table(rows) in out
    assert "3 texts (12 tokens measured), seed 3; 1 of 4 looked at were too short" in out
    assert out.startswith(f"{shelf / 'texts'}: 4 documents") and "records" not in out


def test_evaluate_writes_one_record_a_line_that_tells_how_to_repeat_it(shelf, tmp_path, capfd):
    arguments = ["--model", shelf / "llama", "--method", "yarn", "--factors", "4", "--text", shelf / "texts", "--documents", "2"]
    assert status(["evaluate", *arguments, "--out", tmp_path / "new" / "records"]) == 0
    records = results.read_all("evaluate", tmp_path / "new" / "records")
    assert [record.run for record in records] == ["llama.untouched.seed0", "llama.yarn.seed0"]
    table = {line[0]: line[1:] for line in cells(capfd.readouterr().out)}
    for record, label in zip(records, ("untouched", "yarn"), strict=True):
        assert [f"{record.metrics['last'][factor]:.3f}" for factor in ("1", "4")] == table[label]
        config = record.config
        assert (config["model"], config["text"], config["dtype"], config["window"], config["start_token"]) == (
            "llama", "texts", "float32", WINDOW, None,
        )
        assert len(config["documents"]) == 2 and set(config["documents"]) < set(TEXTS)
        assert config["text_fingerprint"] == corpora.folder(shelf / "texts").fingerprint
        assert str(shelf) not in json.dumps(config)


def test_options_belong_to_the_method_before_them(shelf, capfd):
    arguments = ["--method", "dynamic_ntk", "--option", "rate=3", "--method", "yarn", "abf", "--option", "new_base=1e6", "--method", "clex"]
    assert status(["evaluate", "--model", shelf / "llama", "--text", shelf / "texts", "--factors", "2", *arguments]) == 0
    labels = [line[0] for line in cells(capfd.readouterr().out)]
    assert labels[2:] == ["untouched", "dynamic_ntk rate=3", "yarn", "abf new_base=1e+06", "clex", "untouched, last 16 tokens only"]


def test_an_option_may_be_json(shelf, capfd):
    ramp = 'ramp={"kind": "TurnsRamp", "slow": 1, "fast": 32}'
    arguments = ["--method", "yarn", "--option", ramp, "--method", "yarn", "--factors", "2"]
    assert status(["evaluate", "--model", shelf / "llama", "--text", shelf / "texts", *arguments]) == 0
    assert [line[0] for line in cells(capfd.readouterr().out)][3:5] == ["yarn ramp=TurnsRamp", "yarn"]


def test_an_untrained_clex_is_called_what_it_is(shelf, tmp_path, capfd):
    arguments = ["--model", shelf / "llama", "--method", "clex", "--factor"]
    assert status(["evaluate", *arguments[:-1], "dynamic_ntk", "--factors", "2", "--text", shelf / "texts"]) == 0
    out = capfd.readouterr().out
    lines = {line[0]: line[1:] for line in cells(out)}
    assert lines["clex"] == lines["dynamic_ntk"] and "untrained" in out
    assert status(["export", *arguments, "2", "--out", tmp_path / "out"]) == 0
    assert "untrained" in capfd.readouterr().out


def test_the_window_can_be_smaller_than_the_config_claims(shelf, capfd):
    assert status(["evaluate", "--model", shelf / "llama", "--text", shelf / "texts", "--window", "8", "--method", "yarn"]) == 0
    assert cells(capfd.readouterr().out)[0] == ["method", "1× (8)", "2× (16)", "4× (32)", "8× (64)"]


@pytest.mark.parametrize(("name", "label", "factors"), [("saved", "yarn", (1.0, 4.0)), ("pinned", "linear", (4.0, 4.0))])
def test_a_checkpoint_of_clexlab_is_measured_as_saved_beside_its_own_control(shelf, tmp_path, capfd, name, label, factors):
    arguments = ["--model", shelf / name, "--text", shelf / "texts", "--factors", "4", "--method", "ntk", "--out", tmp_path]
    assert status(["evaluate", *arguments]) == 0
    lines = {line[0]: line[1:] for line in cells(capfd.readouterr().out)}
    assert list(lines)[2:5] == ["untouched", f"{label}, as saved", "ntk"]
    record = results.read(tmp_path / "evaluate" / f"{name}.{label}-as-saved.seed0.json")
    assert tuple(record.metrics["scale"].values()) == factors
    tokenizer = AutoTokenizer.from_pretrained(shelf / "llama")
    drawn = evaluation.sample(corpora.folder(shelf / "texts").documents, tokenizer, 64, 16, torch.Generator().manual_seed(0))
    result = evaluation.loss_by_length(saving.load(shelf / name), drawn.tokens, WINDOW, (1, 4))
    assert record.metrics["last"] == {f"{row.factor:g}": row.last for row in result.rows}


def test_any_name_of_a_folder_gives_a_record(shelf, tmp_path, monkeypatch):
    shutil.copytree(shelf / "llama", tmp_path / "_модель 1")
    monkeypatch.chdir(tmp_path / "_модель 1")
    assert status(["evaluate", "--model", ".", "--text", shelf / "texts", "--factors", "1", "--out", tmp_path / "out"]) == 0
    assert [record.config["model"] for record in results.read_all("evaluate", tmp_path / "out")] == ["_модель 1"]


def test_a_start_token_of_the_tokenizer_is_used_and_recorded(shelf, tmp_path):
    save(hf_models.by_name("llama").build(vocab_size=257, window=WINDOW), tmp_path / "model")
    byte_tokenizer.build(["<s>"], "<s>").save_pretrained(tmp_path / "model")
    assert status(["evaluate", "--model", tmp_path / "model", "--text", shelf / "texts", "--factors", "1", "--out", tmp_path]) == 0
    assert results.read(tmp_path / "evaluate" / "model.untouched.seed0.json").config["start_token"] == 256


def test_a_loss_that_is_no_number_is_one_line_and_status_1(shelf, capfd):
    assert status(["evaluate", "--model", shelf / "not_a_number", "--text", shelf / "texts"]) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "not finite at 16 tokens" in err


def test_too_little_memory_is_one_line_and_status_1(shelf, capfd, monkeypatch):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")

    monkeypatch.setattr(evaluation, "measure", full)
    assert status(["evaluate", "--model", shelf / "llama", "--text", shelf / "texts"]) == 1
    assert capfd.readouterr().err.count("\n") == 1


def test_a_bug_while_measuring_is_not_hidden(shelf, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(evaluation, "measure", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        status(["evaluate", "--model", shelf / "llama", "--text", shelf / "texts"])


# ------------------------------------------------------------------------------------------------ export


@pytest.mark.parametrize(("name", "arguments"), [("llama", ["--method", "yarn"]), ("saved", [])])
def test_an_exported_checkpoint_is_stock_and_has_the_logits_of_the_extended_model(shelf, tmp_path, capfd, name, arguments):
    out = tmp_path / "deep" / "exported"
    assert status(["export", "--model", shelf / name, *arguments, "--factor", "4", "--out", out]) == 0
    printed, err = capfd.readouterr()
    assert err == "" and f"{out}: yarn at factor 4, 16 → 64 tokens" in printed
    assert sorted(path.name for path in out.parent.iterdir()) == ["exported"]
    stock = AutoModelForCausalLM.from_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(shelf / "llama")
    inputs = AutoTokenizer.from_pretrained(out)(TEXTS["long.txt"][:60], return_tensors="pt").input_ids
    with hf.extended(model, hf.scaling_for(model, scaling.YaRN), factor=4.0), torch.no_grad():
        torch.testing.assert_close(stock(inputs).logits, model(inputs).logits, atol=1e-5, rtol=0)
    assert stock.config.rope_parameters["rope_type"] == "yarn"


@pytest.mark.parametrize(("name", "base", "method"), [("adapter", "llama", "yarn"), ("adapter_saved", "saved", None)])
def test_an_adapter_is_measured_on_its_base_and_merged_into_an_exported_checkpoint(shelf, tmp_path, capfd, name, base, method):
    chosen = [] if method is None else ["--method", method]
    assert status(["export", "--model", shelf / name, *chosen, "--factor", "4", "--out", tmp_path / "out"]) == 0
    model = AutoModelForCausalLM.from_pretrained(shelf / "llama")
    with hf.extended(model, hf.scaling_for(model, scaling.YaRN), factor=4.0), torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(model, shelf / name)
        inputs = torch.arange(60)[None]
        wanted = adapted(inputs).logits
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    # Merging rounds each weight once; logits are of a few units.
    torch.testing.assert_close(stock(inputs).logits, wanted, atol=1e-4, rtol=0)
    capfd.readouterr()
    assert status(["evaluate", "--model", shelf / name, "--text", shelf / "texts", "--factors", "2"]) == 0
    with_adapter = cells(capfd.readouterr().out)[2:]
    assert status(["evaluate", "--model", shelf / base, "--text", shelf / "texts", "--factors", "2"]) == 0
    without = cells(capfd.readouterr().out)[2:]
    assert [line[0] for line in with_adapter] == [line[0] for line in without] and with_adapter != without


def test_a_field_that_an_adapter_trained_is_measured_under_the_name_of_its_method(shelf, tmp_path, capfd):
    model = AutoModelForCausalLM.from_pretrained(shelf / "llama")
    hf.extend(model, hf.scaling_for(model, scaling.CLEX))
    save(model, tmp_path / "base")
    tuned = peft.get_peft_model(saving.load(tmp_path / "base"), peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["field"]))
    save(tuned, tmp_path / "adapter")
    assert status(["evaluate", "--model", tmp_path / "adapter", "--text", shelf / "texts", "--factors", "2"]) == 0
    assert [line[0] for line in cells(capfd.readouterr().out)][2:4] == ["untouched", "clex, as saved"]


def test_a_model_without_tokenizer_is_exported_and_the_user_told(shelf, tmp_path, capfd):
    assert status(["export", "--model", shelf / "no_tokenizer", "--method", "linear", "--factor", "2", "--out", tmp_path / "out"]) == 0
    out = capfd.readouterr().out
    assert "holds no tokenizer that loads (ValueError: " in out and "save one beside the weights" in out
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.rope_parameters["rope_type"] == "linear"


def test_export_that_fails_midway_leaves_nothing(shelf, tmp_path, capfd, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    assert status(["export", "--model", shelf / "llama", "--method", "yarn", "--factor", "2", "--out", tmp_path / "a" / "b"]) != 0
    assert "No space left" in capfd.readouterr().err and tree(tmp_path) == []


def test_the_same_texts_as_json_lines_give_the_same_table(shelf, tmp_path, capfd):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"body": TEXTS[name]}) + "\n" for name in sorted(TEXTS)))
    tables = []
    for arguments in ([shelf / "texts"], [tmp_path / "texts.jsonl", "--field", "body", "--out", tmp_path]):
        assert status(["evaluate", "--model", shelf / "llama", "--factors", "2", "--text", *arguments]) == 0
        tables.append(cells(capfd.readouterr().out))
    assert tables[0] == tables[1]
    (record,) = results.read_all("evaluate", tmp_path)
    assert (record.config["text"], record.config["part"]) == ("texts.jsonl", None)


# ------------------------------------------------------------------------------------------------ bad input

EVALUATE = {"--model": "llama", "--text": "texts"}
EXPORT = {"--model": "llama", "--method": "yarn", "--factor": "2", "--out": "OUT/new"}
PLACES = {"--model", "--text", "--out"}
BAD = [
    # What is no model.
    ("evaluate", {"--model": "nowhere/at/all"}, "nowhere/at/all is missing"),
    ("evaluate", {"--model": "words.txt"}, "words.txt is a file"),
    ("evaluate", {"--model": "empty"}, "holds no config.json"),
    ("evaluate", {"--model": "hub:nobody/no-such-model"}, "nobody/no-such-model cannot be loaded"),
    ("evaluate", {"--model": "no_json"}, "cannot be loaded"),
    ("evaluate", {"--model": "pickled"}, "cannot be loaded"),
    ("evaluate", {"--model": "cut_weights"}, "cannot be loaded"),
    ("evaluate", {"--model": "t5"}, "T5Config"),
    ("evaluate", {"--model": "remote_code"}, "cannot be loaded"),
    ("evaluate", {"--model": "no_head"}, "lacks 1 weights of a LlamaForCausalLM, lm_head.weight"),
    ("evaluate", {"--model": "gpt2"}, "no rotary module"),
    ("evaluate", {"--model": "yarn"}, "already scaled (rope_type 'yarn')"),
    ("evaluate", {"--model": "no_tokenizer"}, "holds no tokenizer that loads (ValueError: "),
    ("evaluate", {"--model": "few_tokens"}, "the tokenizer has 256 tokens, the model 200"),
    ("evaluate", {"--model": None}, "--model"),
    # What is no text.
    ("evaluate", {"--text": "nowhere"}, "nowhere is missing"),
    ("evaluate", {"--text": "words.txt"}, "words.txt is no text of a known kind; give standard-library, a folder"),
    ("evaluate", {"--field": "body"}, "a folder, which has no field; it takes suffixes, shortest"),
    ("evaluate", {"--part": "test"}, "--part: invalid choice"),
    ("evaluate", {"--hub-rows": "0"}, "--hub-rows: '0' is not a whole number"),
    ("evaluate", {"--text": "llama"}, "no document"),
    ("evaluate", {"--text": "texts", "--factors": "64"}, "the longest of 4 has 500 tokens, window · largest factor + 1 = 1025 are needed"),
    ("evaluate", {"--suffix": "txt"}, "suffixes"),
    ("evaluate", {"--text": None}, "--text"),
    # What is no method, option, factor or number.
    ("evaluate", {"--method": "yawn"}, "no scaling is named 'yawn'; there are identity, linear"),
    ("evaluate", {"--method": ["yarn", "yarn"]}, "--method yarn is given more than once; name it once, or give each its own --option"),
    ("evaluate", {"--option": "rate=2"}, "no --method before it"),
    ("evaluate", {"--method": "dynamic_ntk", "--option": "rate"}, "not NAME=VALUE"),
    ("evaluate", {"--method": "dynamic_ntk", "--option": "speed=2"}, "dynamic_ntk has no option 'speed'; it has rate"),
    ("evaluate", {"--method": "dynamic_ntk", "--option": "rate=fast"}, "rate is 'fast'"),
    ("evaluate", {"--method": "linear", "--option": "window=8"}, "linear has no option 'window'; it has none"),
    ("evaluate", {"--method": "clex", "--option": "max_factor=4"}, "length 128 exceeds window * max_factor = 64"),
    ("evaluate", {"--factors": "0.5"}, "'0.5' is not a factor"),
    ("evaluate", {"--factors": "2,x"}, "'x' is not a factor"),
    ("evaluate", {"--factors": "nan"}, "'nan' is not a factor"),
    ("evaluate", {"--factors": "1.03"}, "no whole number of tokens"),
    ("evaluate", {"--window": "2"}, "window is 2"),
    ("evaluate", {"--documents": "0"}, "whole number of at least 1"),
    ("evaluate", {"--batch": "-1"}, "whole number of at least 1"),
    ("evaluate", {"--seed": "-1"}, "no seed"),
    ("evaluate", {"--dtype": "int8"}, "float32"),
    ("evaluate", {"--device": "abacus"}, "--device abacus cannot be used"),
    ("evaluate", {"--model": "saved", "--window": "8"}, "built for a window of 16"),
    # What cannot be written.
    ("evaluate", {"--out": "words.txt"}, "is a file"),
    ("evaluate", {"--out": "words.txt/below"}, "is a file"),
    ("evaluate", {"--out": "OUT"}, "llama.untouched.seed0.json exists"),
    ("export", {"--out": "OUT"}, "exists; export writes a new folder"),
    ("export", {"--out": "words.txt"}, "exists; export writes a new folder"),
    ("export", {"--out": "words.txt/below"}, "is a file"),
    ("export", {"--out": None}, "--out"),
    # The same doors from the other command.
    ("export", {"--model": "nowhere/at/all"}, "is missing"),
    ("export", {"--model": "gpt2"}, "no rotary module"),
    ("export", {"--model": "yarn"}, "already scaled"),
    ("export", {"--model": "cut_weights"}, "cannot be loaded"),
    ("export", {"--method": "yawn"}, "no scaling is named"),
    ("export", {"--method": None}, "stock model; say with what"),
    ("export", {"--method": ["yarn", "linear"]}, "one --method"),
    ("export", {"--model": "saved"}, "was saved with yarn; export it without --method"),
    ("export", {"--factor": "0.9"}, "'0.9' is not a factor"),
    ("export", {"--factor": None}, "--factor"),
    ("export", {"--method": "longrope", "--factor": "17"}, "outside 1 … 16"),
]


@pytest.mark.parametrize(("command", "change", "words"), BAD, ids=lambda value: "-".join(value) if isinstance(value, dict) else None)
def test_bad_input_is_one_line_on_standard_error_status_2_and_nothing_written(shelf, tmp_path, capfd, unchecked, command, change, words):
    (tmp_path / "OUT" / "evaluate").mkdir(parents=True)
    (tmp_path / "OUT" / "evaluate" / "llama.untouched.seed0.json").write_text("{}")
    arguments = [command]
    for name, value in ({"evaluate": EVALUATE, "export": EXPORT}[command] | change).items():
        for one in [] if value is None else value if isinstance(value, list) else [value]:
            arguments += [name, place(shelf, tmp_path, one) if name in PLACES else one]
    before = tree(shelf), tree(tmp_path)
    assert status(arguments) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err and "Traceback" not in err and len(err) < 1000
    assert (tree(shelf), tree(tmp_path)) == before


def place(shelf, tmp_path, name):
    if name.startswith("hub:"):
        return name.removeprefix("hub:")
    return tmp_path / name if name.startswith("OUT") else shelf / name


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    # chmod does not stop root, who may be running the tests.
    monkeypatch.setattr(usage.os, "access", lambda *_: False)
    with pytest.raises(usage.Usage, match="not writable"):
        usage.check_writable(tmp_path / "new")


# ------------------------------------------------------------------------------------------------ the real program


def test_help_of_the_commands_loads_nothing_heavy():
    program = (
        "import sys; from clexlab import cli\n"
        "for command in ('evaluate', 'export'):\n"
        "    try: cli.main([command, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--factors" in done.stdout and "--factor T" in done.stdout and done.stdout.endswith("[]\n")


@pytest.mark.slow
def test_the_program_keeps_the_libraries_silent_and_ends_with_the_right_status(shelf, tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "clexlab.cli", *map(str, arguments)], capture_output=True, text=True)

    done = run("export", "--model", shelf / "saved", "--factor", "2", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.splitlines()) == 2
    done = run("evaluate", "--model", tmp_path / "out", "--text", shelf / "texts")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1 and "already scaled" in done.stderr


def test_the_libraries_are_as_loud_afterwards_as_before():
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with usage.quiet():
        assert logging.get_verbosity() == logging.ERROR and not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
