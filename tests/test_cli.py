import json
import os
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from clexlab import cli, doctor, notebooks
from clexlab.lessons import LESSONS


@pytest.fixture
def two_lessons(tmp_path, monkeypatch):
    """A folder with a lesson that passes (01) and one that fails (02), in place of the real one."""
    for name, source in (("01_pass.ipynb", "print('fine')"), ("02_fail.ipynb", "raise ValueError('planted')")):
        nbformat.write(new_notebook(cells=[new_code_cell(source)]), tmp_path / name)
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    return tmp_path


def status(arguments):
    try:
        return cli.main(arguments)
    except SystemExit as end:
        return end.code


def one_line(capsys):
    streams = capsys.readouterr()
    assert streams.out == "" and streams.err.count("\n") == 1, streams
    return streams.err


def test_help_names_every_command_and_loads_nothing_heavy():
    program = (
        "import sys; from clexlab import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'torch', 'numpy', 'nbformat', 'plotly', 'jupyterlab'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for command in ("doctor", "lab", "run", "evaluate", "export", "bench"):
        assert f"\n    {command} " in done.stdout
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["train"], "train"),
        (["run"], "NN"),
        (["run", "all", "--profile", "huge"], "smoke"),
        (["lab", "--port", "0"], "1 to 65535"),
        (["lab", "--port", "http"], "1 to 65535"),
        (["doctor", "--fix"], "--fix"),
    ],
)
def test_a_wrong_command_line_is_one_line_on_standard_error_and_status_2(capsys, arguments, words):
    assert status(arguments) == 2
    assert words in one_line(capsys)


# ------------------------------------------------------------------------------------------------ run


def test_run_executes_a_lesson_with_one_line_and_seconds(two_lessons, capsys):
    assert status(["run", "01", "--profile", "smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].split()[:2] == ["01_pass", "passed"] and lines[0].endswith(" s")
    assert lines[1] == "1 of 1 lessons passed (profile smoke)"


def test_run_all_goes_on_after_a_failure_shows_its_cell_and_ends_with_1(two_lessons, capsys):
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), two_lessons / "03_after.ipynb")
    assert status(["run", "all", "--profile", "smoke"]) == 1
    streams = capsys.readouterr()
    assert [line.split()[1] for line in streams.out.splitlines()[:3]] == ["passed", "FAILED", "passed"]
    assert "raise ValueError('planted')" in streams.err and "ValueError: planted" in streams.err


@pytest.mark.parametrize("names", [["09"], ["01", "nine"], ["all", "01"]])
def test_an_unknown_lesson_runs_nothing(two_lessons, capsys, names):
    assert status(["run", *names]) == 2
    assert "this copy has: 01, 02" in one_line(capsys)


def test_a_bad_profile_in_the_environment_is_refused(two_lessons, capsys, monkeypatch):
    monkeypatch.setenv("CLEXLAB_PROFILE", "fast")
    assert status(["run", "01"]) == 2
    assert "smoke, cpu, gpu" in one_line(capsys)


# ------------------------------------------------------------------------------------------------ lab, bench


def test_lab_serves_this_machine_only_and_opens_the_first_lesson():
    command = cli.lab_command(browser=True, port=None, as_root=False)
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in command
    assert cli.PROMPT_ANSWERS in command
    assert not any("token" in part or "allow-root" in part or "no-browser" in part for part in command)


def test_lab_passes_a_port_and_no_browser_on_and_allows_root_only_for_root():
    command = cli.lab_command(browser=False, port=8899, as_root=True)
    assert {"--ServerApp.port=8899", "--ServerApp.port_retries=0", "--no-browser", "--allow-root"} <= set(command)


def test_lab_becomes_the_server(tmp_path, monkeypatch):
    started = []
    (tmp_path / "notebooks").mkdir()
    (tmp_path / cli.FIRST_LESSON).touch()
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    def execv(program, command):
        started.append((program, command))
        raise SystemExit(0)  # the real one never returns

    monkeypatch.setattr(os, "execv", execv)
    status(["lab", "--no-browser"])
    assert started[0][0] == sys.executable and "--no-browser" in started[0][1]


@pytest.mark.parametrize("command", [["lab"], ["bench"]])
def test_what_needs_the_checkout_says_so_without_one(tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    assert status(command) == 2
    assert "clone of the repository" in one_line(capsys)


@pytest.mark.parametrize("code", [0, 3])
def test_bench_runs_the_benchmarks_and_returns_their_status(tmp_path, monkeypatch, code):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "__main__.py").write_text(f"import sys; sys.exit({code})")
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    assert status(["bench"]) == code


# ------------------------------------------------------------------------------------------------ doctor


def test_the_doctor_looks_at_every_requirement_and_every_lesson():
    subjects = [finding.subject for finding in doctor.report()]
    assert {"python", "torch", "transformers", "jupyterlab", "pytest", "gpu", "memory"} <= set(subjects)
    assert subjects[-len(LESSONS):] == [f"lesson {lesson.number:02d}" for lesson in LESSONS]


@pytest.mark.parametrize(
    ("installed", "tested", "level", "words"),
    [
        ("2.13.0+cpu", "2.13.0", "ok", "tested"),
        ("2.12.1", "2.13.0", "note", "tested with 2.13.0"),
        ("2.11", None, "ok", "2.11"),
        ("2.10.9", "2.13.0", "problem", "2.11 or newer"),
        (None, "2.13.0", "problem", "not installed"),
    ],
)
def test_a_package_is_compared_with_the_lowest_and_the_tested_version(installed, tested, level, words):
    finding = doctor.check_package("torch", "2.11", "", installed, tested)
    assert finding.level == level and words in finding.text
    assert bool(finding.fix) == (level != "ok")
    if level == "problem":
        assert 'install "torch==2.13.0"' in finding.fix


def test_a_package_of_the_test_suite_alone_is_never_a_problem():
    finding = doctor.check_package("pytest", "9", "the test suite", None, None)
    assert finding.level == "note" and "only the test suite needs it" in finding.text


def test_a_package_of_several_extras_is_listed_once_under_the_widest_use(monkeypatch):
    lines = ["torch>=2.11", 'psutil>=6; extra == "lab"', *(f'peft>=0.18; extra == "{extra}"' for extra in ("tune", "test"))]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: lines)
    assert doctor.requirements() == [("torch", "2.11", ""), ("psutil", "6", ""), ("peft", "0.18", "fine-tuning")]


def test_a_missing_package_makes_the_lessons_that_need_it_not_ready(monkeypatch):
    real = doctor.installed_version
    monkeypatch.setattr(doctor, "installed_version", lambda name: None if name == "plotly" else real(name))
    findings = {finding.subject: finding for finding in doctor.report()}
    assert findings["plotly"].level == "problem" and "pip install" in findings["plotly"].fix
    assert findings["lesson 02"].level == "problem" and "plotly" in findings["lesson 02"].text


def test_too_little_memory_is_a_problem_of_the_machine_and_of_the_lesson():
    assert doctor.check_memory(0.2).level == "problem"
    assert doctor.check_memory(64.0).level == "ok"
    assert doctor.check_memory(None).level == "note"
    assert "memory" in doctor.check_lesson(LESSONS[2], set(), 0.2).text


def test_an_old_python_is_a_problem():
    assert doctor.check_python((3, 10, 4)).level == "problem"
    assert doctor.check_python((3, 11, 0)).level == "ok"


def test_an_nvidia_gpu_that_a_cpu_build_cannot_use_is_named_with_the_fix(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "nvidia-smi")
    assert doctor.check_gpu().fix == "TORCH=cuda make lab"


def test_a_gpu_is_shown_with_its_memory(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fast GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * 2**30))
    assert doctor.check_gpu().text == "Fast GPU, 80 GB"


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_the_status_of_the_doctor_is_0_only_without_problems(monkeypatch, capsys, level, code):
    monkeypatch.setattr(doctor, "report", lambda: [doctor.Finding(level, "disk", "text", "do this")])
    assert status(["doctor"]) == code
    assert "fix: do this" in capsys.readouterr().out


def test_without_a_checkout_the_versions_are_compared_with_the_package_metadata(tmp_path):
    assert doctor.tested_versions(tmp_path) == {}
    assert ("torch", "2.11", "") in doctor.requirements()
    assert json.dumps(doctor.requirements())  # plain values, no packaging objects
