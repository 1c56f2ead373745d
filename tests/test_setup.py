"""The set-up of a checkout: files that must agree, the choice of torch, the search for Python, what is repaired."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from clexlab import cli, doctor, notebooks, positions, scaling
from clexlab.lessons import LESSONS, PLANNED

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = doctor.tested_versions(ROOT)


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


setup_env = load(ROOT / "scripts" / "setup_env.py")


def direct_requirements():
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["lab"], *extras["tune"], *extras["data"], *extras["test"]]
    return dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", line).groups() for line in lines)


# ------------------------------------------------------------------------------------------------ versions


def test_every_direct_requirement_is_pinned_at_a_version_it_allows():
    for name, lowest in direct_requirements().items():
        assert doctor.release(PINS[name]) >= doctor.release(lowest), name


def test_constraints_are_plain_exact_pins_each_once():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    names = [re.fullmatch(r"([a-z0-9-]+)==\d[\w.]*", line)[1] for line in lines]
    assert names == sorted(set(names))


def test_the_conda_environment_pins_the_same_versions():
    lines = re.findall(r"^      - (.+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert pins == {name: PINS[name] for name in direct_requirements()}
    assert {"-c constraints.txt", "-e ."} <= set(lines)


def test_the_suite_runs_with_a_version_of_torch_and_transformers_that_is_allowed():
    for name in ("torch", "transformers"):
        assert doctor.release(doctor.installed_version(name)) >= doctor.release(direct_requirements()[name])


# ------------------------------------------------------------------------------------------------ README and Makefile


def rows(heading):
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)[1]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in table]


def test_the_lesson_table_is_the_tuple_of_lessons_and_its_links_lead_to_notebooks():
    expected = [
        [f"[{item.number:02d}](notebooks/{notebooks.find(str(item.number)).name})", item.title, item.question,
         str(item.minutes), item.hardware, item.outcome]
        for item in LESSONS
    ]
    assert rows("Lessons") == expected


def test_the_planned_lessons_are_named_and_not_linked():
    for number, title in PLANNED:
        assert f"{number:02d} {title}" in README
        assert f"notebooks/{number:02d}" not in README


def test_the_method_table_is_the_tuple_of_scalings():
    shown = [(row[0], re.search(r"\((clexlab/scaling/\w+\.py)\)", row[1])[1], row[3]) for row in rows("Methods")]
    expected = []
    for method in scaling.SCALINGS:
        file = method.__module__.replace(".", "/") + ".py"
        expected.append((method.title, file, {scaling.CLEX: "yes", scaling.LongRoPE: "searched"}.get(method, "no")))
    assert shown == expected


def test_the_table_of_recipes_names_every_sampler_and_its_paper():
    shown = rows("Recipes of training")
    for kind in {*positions.SAMPLERS, *positions.SEGMENTS, positions.Sentences} - {positions.Contiguous}:
        assert any(kind.__name__ in row[1] and kind.paper in row[2] for row in shown), kind.__name__


def test_every_paper_in_the_method_table_is_the_one_the_method_names():
    for row, method in zip(rows("Methods"), scaling.SCALINGS, strict=True):
        assert method.paper.removeprefix("arXiv:").split("/")[-1] in row[2], method.name


def test_the_export_column_of_the_method_table_is_the_stock_type_each_method_writes():
    for row, method in zip(rows("Methods"), scaling.SCALINGS, strict=True):
        written = method.default(head_dim=64, base=1e4, window=4096).rope_parameters(4.0)
        assert row[4].startswith(f"`{written['rope_type']}`"), method.name
        assert ("larger base" in row[4]) == (written["rope_type"] == "default" and written["rope_theta"] > 1e4), method.name


def test_every_link_of_the_readme_into_the_repository_leads_somewhere():
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_make_target_the_readme_and_contributing_name_exists():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"lab", "test", "run", "bench", "check", "notebooks", "clean"} <= set(targets)
    named = re.findall(r"(?m)(?:^|`)make ([a-z]+)\b", README + (ROOT / "CONTRIBUTING.md").read_text())
    assert {"lab", "test"} <= set(named) <= set(targets)


def test_every_command_the_readme_and_the_makefile_name_exists():
    commands = cli.parser()._subparsers._group_actions[0].choices
    text = README + (ROOT / "Makefile").read_text()
    assert set(re.findall(r"(?:`|/)clexlab ([a-z]+)", text)) <= set(commands)


def test_ci_runs_the_test_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")
    assert "make test" in README


def test_no_file_names_a_folder_or_a_package_mirror_of_a_machine():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout, so there is no list of files to look at")
    suspicious = re.compile(r"extra-index-url|find-links|index-url|/opt/|/root/|/work/")
    allowed = {"scripts/setup_env.py", "environment.yml", "tests/test_setup.py", "tests/test_notebooks.py"}
    for name in set(filter(None, tracked.stdout.split("\0"))) - allowed:
        path = ROOT / name
        if path.exists() and path.suffix not in {".png", ".safetensors"}:
            assert not suspicious.search(path.read_text(encoding="utf-8")), name


# ------------------------------------------------------------------------------------------------ which torch


@pytest.mark.parametrize(
    ("wanted", "system", "gpu", "installed", "choice"),
    [
        ("", "Linux", False, None, "cpu"),
        ("", "Linux", True, None, "default"),
        ("cpu", "Linux", True, None, "cpu"),
        ("cuda", "Linux", False, None, "default"),
        ("", "Darwin", False, None, "default"),
        ("cpu", "Darwin", False, None, "default"),
        ("", "Linux", False, "default", "default"),
        ("cpu", "Linux", False, "default", "cpu"),
    ],
)
def test_the_build_of_torch_follows_the_machine_the_wish_and_what_is_there(wanted, system, gpu, installed, choice):
    assert setup_env.torch_choice(wanted, system, gpu, installed) == choice


@pytest.mark.parametrize(("wanted", "system"), [("gpu", "Linux"), ("CUDA", "Linux"), ("cuda", "Darwin")])
def test_a_wish_that_cannot_be_met_is_refused(wanted, system):
    with pytest.raises(setup_env.SetupError, match=f"TORCH={wanted}"):
        setup_env.torch_choice(wanted, system, False)


def test_every_attempt_at_the_cpu_build_asks_for_the_label_that_no_cuda_build_has():
    attempts = setup_env.torch_attempts("cpu", "2.13.0")
    assert len(attempts) == 2
    assert all("torch==2.13.0+cpu" in arguments for arguments in attempts)
    assert "https://download.pytorch.org/whl/cpu" in attempts[1]
    assert setup_env.torch_attempts("default", "2.13.0") == [["torch==2.13.0", "--no-deps"]]


def test_the_cpu_index_is_asked_only_where_the_configured_one_has_no_cpu_build():
    asked = []

    def pip(has_it):
        def run(folder, arguments, tolerate):
            asked.append("--index-url" in arguments)
            return has_it(arguments)

        return run

    setup_env.install_torch(ROOT, "cpu", "2.13.0", pip(lambda arguments: True))
    assert asked == [False]
    setup_env.install_torch(ROOT, "cpu", "2.13.0", pip(lambda arguments: "--index-url" in arguments))
    assert asked == [False, False, True]


def test_without_any_cpu_build_the_set_up_stops_with_the_fix_and_never_takes_cuda():
    asked = []

    def nothing(folder, arguments, tolerate):
        asked.append(arguments)
        return False

    with pytest.raises(setup_env.SetupError, match="TORCH=cuda make lab"):
        setup_env.install_torch(ROOT, "cpu", "2.13.0", nothing)
    assert all("torch==2.13.0+cpu" in arguments for arguments in asked)


def fake_environment(folder, error):
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text(f"#!/bin/sh\necho '{error}' >&2\nexit 1\n")
    python.chmod(0o755)
    return folder


def test_only_a_missing_package_is_a_reason_to_look_elsewhere(tmp_path):
    absent = fake_environment(tmp_path, "ERROR: No matching distribution found for torch==2.13.0+cpu")
    assert setup_env.pip(absent, ["torch"], tolerate=True) is False


def test_any_other_error_of_pip_is_shown_and_stops_the_set_up(tmp_path, capsys):
    full = fake_environment(tmp_path, "ERROR: No space left on device")
    with pytest.raises(setup_env.SetupError, match="run the same command again"):
        setup_env.pip(full, ["torch"], tolerate=True)
    assert "No space left" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ stamp and repair

STAMP = setup_env.Stamp(python="3.11.7", root="/here", torch="cpu", inputs="abc")


@pytest.mark.parametrize(
    ("found", "action"),
    [
        (STAMP, "nothing"),
        (replace(STAMP, inputs="older"), "update"),
        (replace(STAMP, python="3.12.1"), "create"),
        (replace(STAMP, root="/moved"), "create"),
        (replace(STAMP, torch="default"), "create"),
        (None, "create"),
    ],
)
def test_only_what_changed_is_done_again(found, action):
    assert setup_env.plan(found, STAMP) == action


def test_the_stamp_changes_with_every_file_an_installation_depends_on(tmp_path):
    stamps = set()
    for name in ("", *setup_env.INPUTS):
        for other in setup_env.INPUTS:
            (tmp_path / other).write_text("changed" if other == name else "first")
        stamps.add(setup_env.wanted_stamp(tmp_path, "cpu"))
    assert len(stamps) == 3


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"python": "3.11.7"}'])
def test_an_installation_that_was_cut_off_has_no_stamp(tmp_path, content):
    if content is not None:
        (tmp_path / setup_env.STAMP).write_text(content)
    assert setup_env.found_stamp(tmp_path) is None


def fake_install(monkeypatch, folder, error=None):
    steps = []

    def pip(folder, arguments, tolerate=False):
        steps.append(arguments)
        assert not (folder / setup_env.STAMP).exists()
        if error and "-e" in arguments:
            raise error
        return True

    def create(folder, clear, with_pip):
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / "python").touch()
        (folder / "pyvenv.cfg").touch()

    monkeypatch.setattr(setup_env, "pip", pip)
    monkeypatch.setattr(setup_env, "install_torch", lambda folder, choice, version: pip(folder, [version]))
    monkeypatch.setattr(setup_env.venv, "create", create)
    return steps


def test_the_second_start_does_no_pip_work_and_a_cut_off_one_starts_over(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "environment"
    arguments = ["--venv", str(folder)]
    monkeypatch.delenv("TORCH", raising=False)
    fake_install(monkeypatch, folder, error=KeyboardInterrupt())
    assert setup_env.main(arguments) == 130
    assert setup_env.found_stamp(folder) is None

    steps = fake_install(monkeypatch, folder)
    assert setup_env.main(arguments) == 0
    assert steps == [[PINS["torch"]], ["-e", ".[lab,test]", "-c", "constraints.txt"]]
    assert setup_env.main(arguments) == 0
    assert len(steps) == 2
    assert "starts over" in capsys.readouterr().err


def test_a_folder_that_is_no_environment_is_never_emptied(monkeypatch, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    monkeypatch.delenv("TORCH", raising=False)
    assert setup_env.main(["--venv", str(tmp_path)]) == 1
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert "not a virtual environment" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ which Python


def find_python(folder, **variables):
    environment = {"PATH": f"{folder}", **variables}
    return subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "find_python.sh")], env=environment, capture_output=True, text=True
    )


def fake_python(folder, name, version="3.12", *, has_venv=True, runs=True):
    """A command that answers the three questions of the search as a Python of that version would."""
    modern = "1" if tuple(map(int, version.split("."))) < (3, 11) else "0"
    (folder / name).write_text(
        f"""#!/bin/sh
{"" if runs else "exit 127"}
case "$2" in
    *version_info*3,\\ 11*) exit {modern} ;;
    *version_info*) echo {version} ;;
    *ensurepip*) exit {0 if has_venv else 1} ;;
    *executable*) echo {folder / name} ;;
esac
"""
    )
    (folder / name).chmod(0o755)


def test_the_search_takes_the_first_python_that_runs_and_is_new_enough(tmp_path):
    fake_python(tmp_path, "python3.13", runs=False)
    fake_python(tmp_path, "python3.12", has_venv=False)
    fake_python(tmp_path, "python3.11", "3.11")
    fake_python(tmp_path, "python3", "3.9")
    done = find_python(tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "python3.11"))


def test_the_search_finds_the_real_interpreter_by_name(tmp_path):
    done = find_python(tmp_path, PYTHON=sys._base_executable)
    assert done.returncode == 0 and Path(done.stdout.strip()).exists()


def test_without_any_python_the_message_says_what_to_install(tmp_path):
    done = find_python(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "3.11 or newer" in done.stderr and "brew install" in done.stderr and "apt install" in done.stderr


def test_a_python_that_is_too_old_is_named(tmp_path):
    fake_python(tmp_path, "python3", "3.9")
    assert "python3=3.9" in find_python(tmp_path).stderr


def test_a_python_without_venv_gets_the_package_that_brings_it(tmp_path):
    fake_python(tmp_path, "python3", "3.12", has_venv=False)
    done = find_python(tmp_path)
    assert done.returncode == 1 and "apt install python3.12-venv" in done.stderr


def test_a_python_named_by_hand_that_does_not_run_is_refused(tmp_path):
    fake_python(tmp_path, "python3")
    done = find_python(tmp_path, PYTHON="/nowhere/python")
    assert done.returncode == 1 and "PYTHON=/nowhere/python" in done.stderr
