"""The scripts in experiments/."""

import dataclasses
import itertools
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from learners import REGISTRY
from tests.test_configs import METHODS, STATED, ours, published, published_imagenet, published_tinyimagenet
from utils.command_line import parse
from utils.files import write_yaml
from utils.reports.paper_tables import PaperTables
from utils.reports.runs import PUBLISHED

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "experiments" / "tables.sh"
RUN_NOTHING = {TABLES, *(ROOT / "experiments" / f"{name}.sh" for name in ("common", "sweep", "benchmark", "diagnose"))}  # of their own
SCRIPTS = sorted({*ROOT.glob("experiments/*.sh")} - RUN_NOTHING)
SHELL = [*SCRIPTS, *sorted(RUN_NOTHING), ROOT / "install_requirements.sh", ROOT / "tests" / "run.sh"]


@pytest.fixture
def commands(tmp_path):
    """Runs a script with an interpreter that only writes down how it was called: commands(path, ...) -> [[word, ...]]."""
    fake, calls = tmp_path / "a folder" / "python", tmp_path / "calls"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nprintf "%s\\\\0" "$#" "$@" >> "{calls}"\n')
    fake.chmod(0o755)

    def run(path, *arguments, **environment):
        done = subprocess.run(
            ["sh", str(path), *arguments], env={**os.environ, "PYTHON": str(fake), **environment}, cwd=tmp_path, capture_output=True, text=True,
            timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        words = iter(calls.read_text().split("\0")[:-1])
        return [[next(words) for _ in range(int(count))] for count in words]

    return run


def runs(calls):
    """The settings of each call of run.py."""
    return [parse(REGISTRY, call[1:]) for call in calls if call[0] == "run.py"]


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_a_script_is_valid_shell(path):
    subprocess.run(["sh", "-n", str(path)], check=True)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_run_of_a_script_parses_and_has_a_folder_of_its_own(commands, path, monkeypatch):
    monkeypatch.chdir(ROOT)
    settings = runs(commands(path))
    assert settings
    assert len({one.log_dir for one in settings}) == len(settings)
    assert not any(one.overwrite for one in settings)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_default_leaks_into_a_script(commands, path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for call in commands(path):
        if call[0] == "run.py":
            files = [word for word in call if word.endswith(".yaml")]
            stated = {word.removeprefix("--") for word in call if word.startswith("--")}
            assert STATED - stated.union(*(yaml.safe_load(Path(file).read_text()) for file in files)) == set(), shlex.join(call)
            ours(parse(REGISTRY, call[1:]))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_table_is_made_of_folders_that_the_script_fills(commands, path, monkeypatch):
    monkeypatch.chdir(ROOT)
    calls = commands(path)
    *_, last = calls
    assert last[:2] == ["-m", "utils.reports.tables"]
    filled = [Path(one.log_dir) for one in runs(calls)]
    assert last[2:]
    assert all(any(folder in (path, *path.parents) for path in filled) for folder in map(Path, last[2:]))


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.name.startswith("cifar100-") and "laptop" not in path.name], ids=lambda p: p.name)
def test_a_published_protocol_ends_beside_the_published_numbers(commands, path, monkeypatch):
    monkeypatch.chdir(ROOT)
    *_, last = calls = commands(path)
    folder, = last[2:]
    assert Path(folder) not in [Path(one.log_dir) for one in runs(calls)]  # runs themselves would be set side by side


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_with_work_of_its_own_shows_its_header_instead(path, flag, tmp_path):
    done = subprocess.run(["sh", str(path), flag], env={**os.environ, "PYTHON": "false"}, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    header = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()[1:])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [line[2:] for line in header]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_an_argument_that_a_script_does_not_take_is_refused_in_one_line(commands, path, tmp_path, monkeypatch):
    """Those take a GPU whose runs compute on it."""
    monkeypatch.chdir(ROOT)
    taken = [] if path.stem in ("demo", "cifar100-laptop", "cifar100-tenth") else ["3"]
    assert not taken or {tuple(one.gpuid) for one in runs(commands(path, *taken))} == {(3,)}
    done = subprocess.run(
        ["sh", str(path), *taken, "1"], env={**os.environ, "PYTHON": "false"}, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    line, = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"too many arguments ({len(taken) + 1}, and it takes {len(taken)})" in line


def test_the_tables_are_those_of_the_folder_and_form_asked_for(commands):
    assert commands(TABLES) == [["-m", "utils.reports.tables"]]
    assert commands(TABLES, "a folder", "--csv")[-1] == ["-m", "utils.reports.tables", "a folder", "--csv"]


def test_a_relative_path_of_python_is_of_the_folder_where_the_script_was_started(commands):
    assert commands(TABLES, "--csv", PYTHON="a folder/python") == [["-m", "utils.reports.tables", "--csv"]]


def test_relative_paths_are_of_the_folder_where_a_script_was_started(tmp_path, environment):
    write_yaml(tmp_path / "outs" / "run" / "results-acc" / "global.yaml", {"history": [[50.0], [40.0]]})
    done = subprocess.run(
        ["sh", str(TABLES), "outs/run"], env={**environment, "PYTHON": sys.executable}, cwd=tmp_path, capture_output=True, text=True,
        timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[:3] == ["run", "50.0", "40.0"]


@pytest.mark.parametrize(("name", "places"), [
    ("tables", ["here", ""]), ("diagnose", ["here", ""]), ("benchmark", ["here", ""]), ("sweep", ["here", ""]), ("demo", ["none", "none"])])
def test_a_program_knows_where_its_script_was_started(tmp_path, name, places):
    """The programs of scripts with work of their own do not: their paths are the repository's, whatever has started them."""
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "${STARTED_IN-none}"\n')
    fake.chmod(0o755)
    found = []
    for folder in (tmp_path, ROOT):
        done = subprocess.run(
            ["sh", str(ROOT / "experiments" / f"{name}.sh")], env={**os.environ, "PYTHON": str(fake), "STARTED_IN": "/elsewhere"}, cwd=folder,
            capture_output=True, text=True, timeout=60)
        found.append(done.stdout.splitlines()[0])
    assert found == [str(tmp_path) if place == "here" else place for place in places]


def test_cdpath_leads_no_script_elsewhere(commands, tmp_path):
    (tmp_path / "experiments").mkdir()
    assert commands(TABLES, CDPATH=str(tmp_path)) == [["-m", "utils.reports.tables"]]


def test_python_with_arguments_is_refused_in_one_line():
    done = subprocess.run(
        ["sh", str(TABLES)], env={**os.environ, "PYTHON": f"{sys.executable} -u"}, capture_output=True, text=True, timeout=60)
    line, = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"PYTHON={sys.executable} -u: there is no such program" in line and "without arguments" in line


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", ["demo", "tables", "sweep"])
def test_a_script_runs_without_standard_streams(tmp_path, name, closed):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\n{ echo out && echo error >&2 && cat; } || exit 1\n')  # fails where one of them is missing
    fake.chmod(0o755)
    script = shlex.quote(str(ROOT / "experiments" / f"{name}.sh"))
    done = subprocess.run(
        ["sh", "-c", f"sh {script} {closed}"], env={**os.environ, "PYTHON": str(fake)}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60)
    assert done.returncode == 0
    assert "Bad file" not in done.stderr


def test_a_failing_run_ends_a_script(tmp_path):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho called >> "$0.calls"\nexit 3\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(["sh", str(ROOT / "experiments" / "demo.sh")], env={**os.environ, "PYTHON": str(fake)}, cwd=tmp_path, timeout=60)
    assert done.returncode != 0
    assert (tmp_path / "python.calls").read_text() == "called\n"


@pytest.fixture(params=[("five", 20), ("ten", 10), ("twenty", 5)], ids=lambda param: param[0])
def column(request, commands, monkeypatch):
    """The settings of the runs of a column of table 1, and its split size."""
    monkeypatch.chdir(ROOT)
    name, size = request.param
    return runs(commands(ROOT / "experiments" / f"cifar100-{name}task.sh")), size


def test_a_column_has_the_upper_bound_and_every_learner_once(column):
    settings, size = column
    sizes = [(one.learner_name, one.first_split_size, one.other_split_size, one.memory) for one in settings]
    bound = [one for one in settings if one.first_split_size == 100]
    assert [one.learner_name for one in bound] == ["NormalNN"]
    rest = [one for one in sizes if one[1] != 100]
    assert sorted(rest) == sorted((learner, size, size, memory) for learner, memory in METHODS.values())


def test_methods_with_bases_first_task_take_it_from_a_folder_filled_before(column):
    settings, _ = column
    place = {one.log_dir: number for number, one in enumerate(settings)}
    sharing = [one for one in settings if one.load_model_dir]
    assert sorted(one.learner_name for one in sharing) == ["BIC", "ETE", "LWF", "LWF", "NormalNN"]
    for one in sharing:
        source = settings[place[one.load_model_dir]]
        assert (source.learner_name, source.memory) == ("NormalNN", 0)
        assert place[source.log_dir] < place[one.log_dir]


def test_a_column_follows_the_published_protocol(column):
    for one in column[0]:
        published(one)
        assert one.dataset == "CIFAR100"
        assert not one.oracle_flag


def test_a_column_fills_cells_beside_the_papers_numbers(column, tmp_path):
    settings, size = column
    for one in settings:
        write_yaml(tmp_path / "runs" / one.log_dir / "args.yaml", dataclasses.asdict(one))
    tables = PaperTables(tmp_path / "runs")
    assert (tables.labels(), tables.warnings) == ([PUBLISHED], [])
    filled = {run.name for number in (1, 2) for line in tables.tables(PUBLISHED)[number] for split, run in line.runs.items() if split == 100 // size}
    assert filled == {one.log_dir for one in settings}


def test_a_column_has_each_learners_published_weights(column):
    mu = {one.learner_name: one.mu for one in column[0]}
    assert (mu["LWF"], mu["Generative_Replay"], mu["ETE"]) == (1, 1, 1)
    assert (mu["DeepInversionGenBN"], mu["DeepInversionLWF"], mu["AlwaysBeDreaming"]) == (1, 0.1, 0.1)
    for one in column[0]:
        assert (one.temp, one.power_iters, one.gen_model_name) == (2, 10000, "CIFAR_GEN")
        assert one.deep_inv_params == [1e-3, 50, 1e-3, 1e3, 1]


def test_the_columns_share_their_upper_bound(commands, monkeypatch):
    monkeypatch.chdir(ROOT)
    calls = [call for name in ("five", "ten", "twenty") for call in commands(ROOT / "experiments" / f"cifar100-{name}task.sh")]
    bounds = [one for one in runs(calls) if one.first_split_size == 100]
    assert bounds
    assert all(one == bounds[0] for one in bounds)  # else the second script would be refused the first one's folder


@pytest.mark.parametrize(("name", "check", "classes"), [
    ("tinyimnet-twentytask", published_tinyimagenet, 200), ("imnet-fivetask", published_imagenet, 50)])
def test_a_benchmark_has_the_upper_bound_and_every_learner_once_with_published_flags(commands, monkeypatch, name, check, classes):
    monkeypatch.chdir(ROOT)
    calls = commands(ROOT / "experiments" / f"{name}.sh")
    settings = runs(calls)
    for one in settings:
        check(one)
        assert (one.temp, one.deep_inv_params) == (2, [1e-3, 50, 1e-3, 1e3, 1])
    bound, *rest = settings
    assert (bound.learner_name, bound.first_split_size) == ("NormalNN", classes)
    found = [(one.learner_name, one.memory) for one in rest]
    assert sorted(found) == sorted(pair for method, pair in METHODS.items() if (name, method) != ("imnet-fivetask", "dgr"))
    assert {one.first_split_size for one in rest} == {10}
    mu = {one.learner_name: one.mu for one in rest}
    assert (mu["LWF"], mu["DeepInversionGenBN"], mu["DeepInversionLWF"], mu["AlwaysBeDreaming"]) == (1, 1, 0.1, 0.1)
    assert not any("--config" in call for call in calls)


def test_the_gpu_is_the_scripts_argument_and_0_without_one(commands):
    path = ROOT / "experiments" / "cifar100-fivetask.sh"
    first = len(commands(path))
    both = runs(commands(path, "-1"))
    gpus = [one.gpuid for one in both]
    assert gpus[: len(gpus) // 2] == [[0]] * (len(gpus) // 2)
    assert gpus[len(gpus) // 2 :] == [[-1]] * (len(gpus) // 2)
    assert first > len(gpus) // 2


def test_flags_are_written_out_in_the_columns(commands):
    for call in commands(ROOT / "experiments" / "cifar100-tentask.sh"):
        assert "--config" not in call, shlex.join(call)


def test_the_requirements_are_left_alone_where_an_interpreter_is_given(tmp_path):
    done = subprocess.run(
        ["sh", str(ROOT / "install_requirements.sh")], env={**os.environ, "PYTHON": "no-such-python"}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
