"""The runs of scripts."""

import contextlib
import subprocess
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.sweeps.plan import Plan


def test_the_runs_are_those_of_the_script_and_nothing_is_done(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = script("echo run.py --log_dir nothing\n$PYTHON run.py $P --log_dir 'outputs/a run' --lr 0.2 --threads 3\n"
                  "$PYTHON run.py $P --load_model_dir ./outputs/../outputs/'a run' --log_dir b\n$PYTHON -m utils.reports.tables 'outputs/a run' b")
    plan = Plan([path])
    first, second = plan.runs
    assert (first.name, first.folder, first.threads, first.after) == ("outputs/a run", Path("outputs/a run"), 3, None)
    assert (second.threads, second.processes) == (0, 1)
    assert first.arguments[-6:] == ["--log_dir", "outputs/a run", "--lr", "0.2", "--threads", "3"]
    assert second.after is first
    assert plan.afterwards == [(["-m", "utils.reports.tables", "outputs/a run", "b"], plan.runs)]
    assert [path.name for path in tmp_path.iterdir()] == ["script.sh"]


def test_a_run_of_two_scripts_is_one(script):
    line = "$PYTHON run.py $P --log_dir shared"
    first, second = script(f"{line} --lr 0.2"), script(f"{line} --lr 2e-1 --gpuid 1\n$PYTHON run.py $P --log_dir own", "second.sh")
    assert [one.name for one in Plan([first, second]).runs] == ["shared", "own"]
    with pytest.raises(UserError, match="third.sh: --log_dir shared is there twice, with another --lr"):
        Plan([first, script(line, "third.sh")])


@pytest.mark.parametrize(("text", "message"), [
    ("$PYTHON run.py --lr fast", "script.sh: --lr: 'fast'"),
    ("echo nothing", "script.sh: calls no run.py by"),
    ("$PYTHON run.py $P --log_dir a --overwrite 1", "--log_dir a: --overwrite 1 would start each attempt from scratch"),
    ("echo 'it broke' >&2; false", "script.sh: ends with status 1: it broke"),
    ("$PYTHON run.py $P --log_dir a --load_model_dir b\n$PYTHON run.py $P --log_dir b --load_model_dir a", "a waits for itself, by way of b"),
])
def test_a_wrong_script_is_refused(script, text, message):
    with pytest.raises(UserError, match=message):
        Plan([script(text)])


def test_python_called_by_its_own_name_is_not_run_either(script, tmp_path):
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()"
    path = script(f'$PYTHON run.py $P --log_dir a\npython3 -c "{code}"')
    assert [call for call, _ in Plan([path]).afterwards] == [["-c", code]]
    assert not (tmp_path / "ran").exists()


def test_where_temporary_folders_run_no_programs_a_line_says_so(script, monkeypatch):
    monkeypatch.setattr("utils.sweeps.plan.os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="no program may run in temporary folders here; set TMPDIR"):
        Plan([script("$PYTHON run.py $P --log_dir a")])


def test_a_script_that_works_by_itself_is_not_waited_for(script, monkeypatch):
    monkeypatch.setattr("utils.sweeps.plan.LONG", 0.5)
    with pytest.raises(UserError, match="must call run.py by"):
        Plan([script("sleep 30")])


def test_what_such_a_script_has_started_ends_with_it(script, monkeypatch, tmp_path):
    started = tmp_path / "started"

    def too_long(shell, timeout):
        while not (started.exists() and started.read_text().strip()):
            assert shell.poll() is None
            time.sleep(0.01)
        raise subprocess.TimeoutExpired(shell.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", too_long)
    with pytest.raises(UserError, match="must call run.py by"):
        Plan([script(f"sh -c 'echo $$ > {started}; exec sleep 300'; true")])
    number = int(started.read_text())
    end = time.monotonic() + 60
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it is gone
        while "Z" not in Path(f"/proc/{number}/stat").read_text().split()[2]:
            assert time.monotonic() < end, "it lives on"
            time.sleep(0.05)


def test_the_published_columns_are_one_list_that_shares_the_upper_bound(root, monkeypatch):
    monkeypatch.chdir(root)
    plan = Plan([f"experiments/cifar100-{name}task.sh" for name in ("five", "ten")])
    names = [one.name for one in plan.runs]
    assert len(names) == len(set(names)) == 23
    assert {one.after.name for one in plan.runs if one.after} == {f"outputs/cifar100-{name}task/base" for name in ("five", "ten")}
    assert [len(runs) for _, runs in plan.afterwards] == [12, 12]
