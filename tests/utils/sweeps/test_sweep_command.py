"""The command of a sweep."""

from pathlib import Path

import pytest

from utils.errors import UserError
from utils.sweeps import sweep
from utils.sweeps.engines import Ended, Run
from utils.training import device


@pytest.mark.parametrize(("arguments", "message"), [
    (["nowhere.sh"], "nowhere.sh: there is no such script"),
    (["--runs_per_gpu", "0", "x.sh"], "argument --runs_per_gpu: '0' is not a whole number above 0"),
    (["x.sh", "--address", "there"], "--address there: is of a Ray cluster; add --engine ray"),
    (["x.sh", "--engine", "ray", "--gpuid", "0"], "--gpuid: Ray chooses the GPUs"),
    ([], "the following arguments are required: SCRIPT"),
])
def test_what_is_wrong_is_one_line_and_status_2(capsys, arguments, message):
    assert sweep.main(arguments) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith(f"experiments/sweep.sh: {message}")


def test_a_script_is_of_the_folder_where_the_sweep_was_started_and_what_it_starts_is_not(script, monkeypatch, capsys):
    path = Path(script("$PYTHON run.py $P --log_dir a\n$PYTHON -c 'import os; raise SystemExit(os.environ.get(\"STARTED_IN\"))'"))
    monkeypatch.setenv("STARTED_IN", str(path.parent))
    monkeypatch.setattr(sweep, "run_all", lambda runs, engine, stop_request: [])
    assert sweep.main([path.name, "--gpuid", "-1"]) == 0, capsys.readouterr().err


@pytest.fixture
def gpus(monkeypatch):
    """torch and so many GPUs, or one that it cannot use: gpus(count, why)."""

    def have(count, why=""):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(device, "visible_gpus", lambda: count)
        monkeypatch.setattr(device, "unusable_gpu", lambda: why)

    return have


@pytest.mark.parametrize(("count", "gpuid", "found"), [
    (0, [], [-1]), (0, [1], [-1]), (2, [], [0, 1]), (2, [1], [1]), (2, [1, 0], [1, 0]), (2, [-1], [-1]), (2, [0, -1], [-1])])
def test_devices_are_all_gpus_or_the_cpu(gpus, count, gpuid, found):
    gpus(count)
    assert sweep.devices(gpuid) == found


def test_a_gpu_that_is_not_there_is_refused(gpus):
    gpus(2)
    with pytest.raises(UserError, match="--gpuid 2"):
        sweep.devices([0, 2])


@pytest.mark.parametrize("gpuid", [[], ["--gpuid", "0"], ["--gpuid", "1", "0"]])
def test_a_gpu_that_torch_cannot_use_is_refused(gpus, script, capsys, gpuid):
    gpus(0, "the driver is too old")
    assert sweep.main([script("$PYTHON run.py $P --log_dir a"), *gpuid]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line == f"experiments/sweep.sh: --gpuid {gpuid[1] if gpuid else 0}: the driver is too old"


@pytest.mark.parametrize(("gpuid", "expected"), [([], True), (["--gpuid", "-1"], False)])
def test_a_sweep_says_that_it_found_no_gpu(gpus, script, monkeypatch, capsys, gpuid, expected):
    gpus(0)
    monkeypatch.setattr(sweep, "run_all", lambda runs, engine, stop_request: [])
    assert sweep.main([script("$PYTHON run.py $P --log_dir a"), *gpuid]) == 0
    assert ("no NVIDIA GPU was found" in capsys.readouterr().out) == expected


def test_runs_side_by_side_share_the_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "default_threads", lambda processes: 24 // processes)

    def shared(places, *runs):
        made = [Run(str(number), [], tmp_path, *run) for number, run in enumerate(runs)]
        sweep.share_cores(made, places)
        return [run.threads for run in made]

    assert shared(1, (0, 1), (0, 1)) == [24, 24]
    assert shared(2, (0, 1), (0, 3), (5, 3)) == [12, 4, 5]
    assert shared(8, (0, 1), (0, 1)) == [12, 12]  # there are no more runs than two


@pytest.mark.parametrize(("failing", "status", "tables"), [(False, 0, True), (True, 1, False)])
def test_tables_come_where_their_runs_are_done(script, monkeypatch, capfd, failing, status, tables):
    """Without runs, and with a program that says how it was called in place of the tables."""
    monkeypatch.setattr(sweep, "run_all", lambda runs, engine, stop_request: [Ended(runs[0], 2, "wrong")] if failing else [])
    assert sweep.main([script("$PYTHON run.py $P --log_dir 'a b'\n$PYTHON -c 'print(\"the table\")'")]) == status
    out, errors = capfd.readouterr()
    assert ("the table" in out) == tables
    assert errors == ("experiments/sweep.sh: 1 of 1 runs failed: a b; the same command tries again\n" if failing else "")


def test_tables_that_fail_are_named(script, monkeypatch, capfd):
    monkeypatch.setattr(sweep, "run_all", lambda runs, engine, stop_request: [])
    assert sweep.main([script("$PYTHON run.py $P --log_dir a\n$PYTHON -c 'raise SystemExit(2)'")]) == 1
    assert capfd.readouterr().err == "experiments/sweep.sh: this failed: python -c 'raise SystemExit(2)'; the same command tries again\n"
