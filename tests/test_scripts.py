"""The scripts in experiments/."""

import functools
import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from learners import REGISTRY
from tests.test_configs import METHODS, STATED, ours, published, published_imagenet, published_tinyimagenet
from utils.command_line import parse

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "experiments"
PROGRAMS = [EXPERIMENTS / f"{name}.sh" for name in ("benchmark", "diagnose", "sweep", "tables")]
SCRIPTS = sorted({*EXPERIMENTS.glob("*.sh")} - {*PROGRAMS, EXPERIMENTS / "common.sh"})
COLUMNS = {"five": 20, "ten": 10, "twenty": 5}  # words in names of scripts -> classes of a task

by_name = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)


def sh(*words, cwd, **environment):
    return subprocess.run(
        ["sh", *map(str, words)], env={**os.environ, **environment}, cwd=cwd, capture_output=True, text=True,
        timeout=120)


def interpreter(folder, code):
    """A program in the place of Python."""
    path = folder / "a folder" / "python"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    """How a script calls Python: commands(path, argument, ...) -> [[word, ...], ...]."""

    @functools.cache
    def run(path, *arguments):
        folder = tmp_path_factory.mktemp("commands")
        python = interpreter(folder, f'printf "%s\\0" "$#" "$@" >> "{folder}/calls"')
        done = sh(path, *arguments, cwd=folder, PYTHON="a folder/python")
        assert (done.returncode, done.stderr) == (0, ""), python
        words = iter((folder / "calls").read_text().split("\0")[:-1])
        return [[next(words) for _ in range(int(count))] for count in words]

    return run


@pytest.fixture
def runs(commands, monkeypatch):
    """The settings of a script's runs, as it starts them in the repository: runs(path, argument, ...)."""
    monkeypatch.chdir(ROOT)
    return lambda *call: [parse(REGISTRY, words[1:]) for words in commands(*call) if words[0] == "run.py"]


@by_name
def test_each_run_has_a_folder_of_its_own_and_resumes(runs, path):
    settings = runs(path)
    assert len({one.log_dir for one in settings}) == len(settings) > 0
    assert not any(one.overwrite for one in settings)


@by_name
def test_no_default_leaks_into_a_script(commands, runs, path):
    for call, settings in zip([call for call in commands(path) if call[0] == "run.py"], runs(path)):
        files = [yaml.safe_load(Path(word).read_text()) for word in call if word.endswith(".yaml")]
        stated = {word.removeprefix("--") for word in call if word.startswith("--")}
        assert STATED - stated.union(*files) == set(), call
        ours(settings)


@by_name
def test_a_script_ends_with_a_table_of_folders_that_it_fills(commands, runs, path):
    *_, last = commands(path)
    filled = [Path(one.log_dir) for one in runs(path)]
    assert last[:2] == ["-m", "utils.reports.tables"] and last[2:]
    assert all(any(folder in (path, *path.parents) for path in filled) for folder in map(Path, last[2:]))


@by_name
def test_help_is_the_header_of_the_script(path, tmp_path):
    done = sh(path, "--help", cwd=tmp_path, PYTHON="false")
    header = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()[1:])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [line[2:] for line in header]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_get_all_arguments(commands, path):
    call, = commands(path, "a folder", "--help")
    assert call[0] == "-m" and call[2:] == ["a folder", "--help"]


WITH_GPU = [path for path in SCRIPTS if "[GPU]" in path.read_text()]


@pytest.mark.parametrize("path", WITH_GPU, ids=lambda path: path.stem)
def test_the_gpu_is_the_first_argument_and_0_without_one(runs, path):
    assert {tuple(one.gpuid) for one in runs(path)} == {(0,)}
    assert {tuple(one.gpuid) for one in runs(path, "-1")} == {(-1,)}


def test_a_script_of_several_protocols_takes_the_numbers_of_tasks(runs):
    for path in EXPERIMENTS / "cifar100-b50.sh", EXPERIMENTS / "tinyimagenet-b100.sh":
        assert len(runs(path)) == 15
        ten = runs(path, "0", "10")
        assert [one.log_dir for one in ten] == [one.log_dir for one in runs(path) if "-t10/" in one.log_dir]
        assert {one.first_split_size for one in ten} == {50 if "cifar" in path.stem else 100}


def test_relative_paths_start_where_a_program_was_started(tmp_path, environment):
    environment = {**environment, "PYTHON": sys.executable}
    done = sh(EXPERIMENTS / "tables.sh", "outs", cwd=tmp_path, **environment)
    assert done.returncode == 2 and str(tmp_path / "outs") in done.stderr


def test_paths_of_other_scripts_are_those_of_the_repository(tmp_path):
    python = interpreter(tmp_path, 'echo "$PWD ${STARTED_IN-none}"')
    demo, tables = EXPERIMENTS / "demo.sh", EXPERIMENTS / "tables.sh"
    assert sh(demo, cwd=tmp_path, PYTHON=str(python)).stdout.startswith(f"{ROOT} none\n")
    assert sh(tables, cwd=ROOT, PYTHON=str(python)).stdout == f"{ROOT} \n"
    assert sh(tables, cwd=tmp_path, PYTHON=str(python), CDPATH="/").stdout == f"{ROOT} {tmp_path}\n"


def test_a_wrong_interpreter_is_refused_in_one_line(tmp_path):
    done = sh(EXPERIMENTS / "tables.sh", cwd=tmp_path, PYTHON=f"{sys.executable} -u")
    line, = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"PYTHON={sys.executable} -u: no such program" in line


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_script_runs_without_standard_streams(tmp_path, closed):
    """As cron may start it."""
    python = interpreter(tmp_path, "{ echo out && echo error >&2 && cat; } || exit 1")
    script = shlex.quote(str(EXPERIMENTS / "demo.sh"))
    done = subprocess.run(
        ["sh", "-c", f"sh {script} {closed}"], env={**os.environ, "PYTHON": str(python)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "Bad file" not in done.stderr


def test_a_failing_run_ends_a_script(tmp_path):
    python = interpreter(tmp_path, 'echo called >> "$0.calls"; exit 3')
    assert sh(EXPERIMENTS / "demo.sh", cwd=tmp_path, PYTHON=str(python)).returncode == 3
    assert python.with_name("python.calls").read_text() == "called\n"


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_the_published_protocol_with_every_method_once(commands, runs, name):
    size, path = COLUMNS[name], EXPERIMENTS / f"cifar100-{name}task.sh"
    *rest, bound = settings = runs(path)
    for one in settings:
        published(one)
        assert (one.dataset, one.oracle_flag) == ("CIFAR100", False)
        assert (one.temp, one.power_iters, one.gen_model_name) == (2, 10000, "CIFAR_GEN")
        assert one.deep_inv_params == [1e-3, 50, 1e-3, 1e3, 1]
    assert (bound.learner_name, bound.first_split_size) == ("NormalNN", 100)
    sizes = [(one.learner_name, one.memory, one.first_split_size, one.other_split_size) for one in rest]
    assert sorted(sizes) == sorted((*method, size, size) for method in METHODS.values())
    assert not any("--config" in call for call in commands(path))  # flags stay in sight


def test_the_columns_share_their_upper_bound(runs):
    bounds = [runs(EXPERIMENTS / f"cifar100-{name}task.sh")[-1] for name in COLUMNS]
    assert bounds == [bounds[0]] * 3


@pytest.mark.parametrize("name", ["cifar100-fivetask", "tinyimnet-twentytask", "imnet-fivetask"])
def test_methods_take_bases_first_task_from_a_folder_filled_before(runs, name):
    settings = runs(EXPERIMENTS / f"{name}.sh")
    sharing = [one for one in settings if one.load_model_dir]
    assert sorted(one.learner_name for one in sharing) == ["BIC", "ETE", "LWF", "LWF", "NormalNN"]
    for one in sharing:
        source, = (other for other in settings[: settings.index(one)] if other.log_dir == one.load_model_dir)
        assert (source.learner_name, source.memory) == ("NormalNN", 0)
        assert source.first_split_size == one.first_split_size


@pytest.mark.parametrize(("name", "check", "classes"), [
    ("tinyimnet-twentytask", published_tinyimagenet, 200), ("imnet-fivetask", published_imagenet, 50)])
def test_another_benchmark_is_the_published_protocol_with_every_method_once(runs, name, check, classes):
    bound, *rest = settings = runs(EXPERIMENTS / f"{name}.sh")
    for one in settings:
        check(one)
        assert (one.temp, one.deep_inv_params) == (2, [1e-3, 50, 1e-3, 1e3, 1])
    assert (bound.learner_name, bound.first_split_size) == ("NormalNN", classes)
    found = [(one.learner_name, one.memory) for one in rest]
    methods = {**METHODS}
    if name == "imnet-fivetask":
        del methods["dgr"]
    assert sorted(found) == sorted(methods.values())
    assert {one.first_split_size for one in rest} == {10}
