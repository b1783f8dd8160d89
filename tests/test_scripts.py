"""The scripts in experiments/."""

import functools
import itertools
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from learners import REGISTRY
from tests.test_configs import METHODS, STATED, ours, published
from utils.command_line import parse
from utils.sweep import recorded_calls

EXPERIMENTS = ROOT / "experiments"
PROGRAMS = [EXPERIMENTS / f"{name}.sh" for name in ("benchmark", "diagnose", "sweep", "tables")]
SOURCED = [EXPERIMENTS / f"{name}.sh" for name in ("common", "runs")]
SCRIPTS = sorted({*EXPERIMENTS.glob("*.sh")} - {*PROGRAMS, *SOURCED})
DEMO = EXPERIMENTS / "demo.sh"
PUBLISHED = {  # script -> classes of a task, classes of the data set
    "cifar100-fivetask": (20, 100), "cifar100-tentask": (10, 100), "cifar100-twentytask": (5, 100),
    "tinyimnet-twentytask": (10, 200), "imnet-fivetask": (10, 50)}

by_name = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)


def sh(*words, cwd=ROOT, **environment):
    return subprocess.run(
        ["sh", *map(str, words)], env={**os.environ, **environment}, cwd=cwd, capture_output=True, text=True,
        timeout=120)


def stand_in(folder, code):
    """A program in the place of Python."""
    path = folder / "a folder" / "python"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


@functools.cache
def calls_of(path, *arguments):
    """How a script calls Python."""
    return recorded_calls(path, [*["cifar100-b50-t10"] * (path.stem == "half-first"), *arguments])


@pytest.fixture
def runs(monkeypatch):
    """The settings of a script's runs, as it starts them in the repository: runs(path, argument, ...)."""
    monkeypatch.chdir(ROOT)
    return lambda *call: [parse(REGISTRY, words[1:]) for words in calls_of(*call) if words[0] == "run.py"]


@by_name
def test_a_script_runs_our_settings_each_in_a_folder_of_its_own_and_shows_them(runs, path):
    *calls, last = calls_of(path)
    settings = runs(path)
    assert len({one.log_dir for one in settings}) == len(settings) == len(calls) > 0
    for call, one in zip(calls, settings):
        files = [yaml.safe_load(Path(word).read_text()) for word in call if word.endswith(".yaml")]
        stated = {word.removeprefix("--") for word in call if word.startswith("--")}
        assert STATED - stated.union(*files) == set(), call
        ours(one)
        assert Path(last[2]) in Path(one.log_dir).parents and not one.overwrite
    assert last[:2] == ["-m", "utils.reports.tables"] and len(last) == 3


def test_help_is_the_header_of_the_script():
    done = sh(DEMO, "--help", PYTHON="false")
    header = itertools.takewhile(lambda line: line.startswith("#"), DEMO.read_text().splitlines()[1:])
    assert (done.returncode, done.stdout.splitlines()) == (0, [line[2:] for line in header])


@by_name
def test_a_script_takes_a_gpu_names_and_flags_for_each_run(runs, path):
    everything, cpu = runs(path), runs(path, "-1", "--max_task", "2", "--log_dir", "a  b/*")
    assert len(cpu) == len(everything)
    assert {(*one.gpuid, one.max_task, one.log_dir) for one in cpu} == {(-1, 2, "a  b/*")}
    name = "rfd" if "successors" in path.stem else "abd"
    assert runs(path, "--overwrite", "0", "--only", name) == [
        one for one in everything if one.log_dir.endswith(f"/{name}")]


def test_a_name_that_the_script_does_not_have_is_refused_before_any_run(tmp_path):
    python = stand_in(tmp_path, "echo called")
    done = sh(DEMO, "--only", "base", "bade", PYTHON=str(python))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "--only bade: the script has no such run, only base " in done.stderr


@pytest.mark.parametrize(("sent", "then", "status"), [
    (["TERM"], "exit", 143), (["INT"], "exit", 130), (["TERM", "INT"], ":", 143)])
def test_a_stopped_script_stops_its_run_and_waits_for_it_until_ctrl_c(tmp_path, sent, then, status):
    ended = tmp_path / "ended"
    python = stand_in(tmp_path, f"""trap 'echo heard; sleep 0.2; touch "{ended}"; {then}' TERM; echo begun
        while :; do sleep 0.1; done""")
    process = subprocess.Popen(
        ["sh", DEMO], env={**os.environ, "PYTHON": str(python)}, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    for name in sent:
        assert process.stdout.readline() in ("begun\n", "heard\n")
        process.send_signal(signal.Signals[f"SIG{name}"])
    assert process.wait(60) == status
    assert ended.exists() == (then == "exit")


def test_a_failing_run_ends_a_script_which_starts_in_the_repository(tmp_path):
    python = stand_in(tmp_path, 'echo "$PWD ${STARTED_IN-none}"; exit 3')
    done = sh(DEMO, cwd=tmp_path, PYTHON=str(python), CDPATH="/")
    assert (done.returncode, done.stdout) == (3, f"{ROOT} none\n")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_gets_all_arguments_and_the_folder_where_relative_paths_start(tmp_path, path):
    python = stand_in(tmp_path, 'echo "$1 $# $4 $STARTED_IN"')
    done = sh(path, "a  folder", "--help", cwd=tmp_path, PYTHON=str(python))
    assert done.stdout == f"-m 4 --help {tmp_path}\n"


def test_a_wrong_interpreter_is_refused_in_one_line(tmp_path):
    done = sh(DEMO, PYTHON="python -u")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "PYTHON=python -u: no such program" in done.stderr


def test_a_script_runs_without_standard_streams(tmp_path):
    """As cron may start it."""
    python = stand_in(tmp_path, "{ echo out && echo error >&2 && cat; } || exit 1")
    done = sh("-c", f"sh {shlex.quote(str(DEMO))} <&- >&- 2>&-", PYTHON=str(python))
    assert (done.returncode, done.stderr) == (0, "")


# The published protocols


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_script_is_the_published_protocol_with_every_method_once(runs, name):
    size, classes = PUBLISHED[name]
    settings = runs(EXPERIMENTS / f"{name}.sh")
    for one in settings:
        published(one)
        assert (one.temp, one.oracle_flag, one.deep_inv_params) == (2, False, [1e-3, 50, 1e-3, 1e3, 1])
    bound, = (one for one in settings if one.first_split_size == classes)
    rest = [one for one in settings if one is not bound]
    methods = {file: method for file, method in METHODS.items() if file != "dgr" or name != "imnet-fivetask"}
    assert (bound.learner_name, bound.memory) == ("NormalNN", 0)
    assert sorted((one.learner_name, one.memory) for one in rest) == sorted(methods.values())
    assert {(one.first_split_size, one.other_split_size) for one in rest} == {(size, size)}
    sharing = [one for one in rest if one.load_model_dir]
    assert sorted(one.learner_name for one in sharing) == ["BIC", "ETE", "LWF", "LWF", "NormalNN"]
    base = next(one for one in rest if (one.learner_name, one.memory) == ("NormalNN", 0))
    assert {one.load_model_dir for one in sharing} == {base.log_dir}
    assert rest.index(base) < min(map(rest.index, sharing))
    assert not any("--config" in call for call in calls_of(EXPERIMENTS / f"{name}.sh"))  # flags in sight


def test_the_columns_share_their_upper_bound(runs):
    bounds = [runs(EXPERIMENTS / f"{name}.sh")[-1] for name in PUBLISHED if "cifar100" in name]
    assert bounds == [bounds[0]] * 3
