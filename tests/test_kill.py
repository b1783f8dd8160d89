"""Real processes that are killed and started again."""

import signal

import kill
import pytest

# What has just happened, and repeat, task, stage and epoch of the place. The first stage of dreaming learners
# is "dream", in two rounds of two steps.
QUICK = "--task_sizes 2 1 --schedule 2 --batch_size 48 --power_iters 4".split()
MOMENTS = {
    "NormalNN": [
        "repeat_began 0 0 0 0", "task_ended 0 0 1 0", "step_taken 0 1 0 1", "saved 0 2 0 0",
        "step_taken 1 1 0 1"],
    "AlwaysBeDreaming": [
        "saved 0 1 0 0", "step_taken 0 1 0 1", "step_taken 0 1 1 1", "task_ended 0 1 2 0",
        "step_taken 0 2 0 1"],
    "BIC": ["step_taken 0 1 0 1", "stage_ended 0 1 0 2", "step_taken 0 1 1 1"],
    "RFD": ["step_taken 0 1 0 1", "step_taken 0 1 1 0", "step_taken 0 1 2 0"],
}
MORE = {
    "NormalNN": ["--repeat", 2, "--memory", 60],
    "AlwaysBeDreaming": ["--task_sizes", 2, 1, 1, "--max_task", 3]}


@pytest.mark.parametrize("learner", MOMENTS)
def test_a_run_killed_in_every_kind_of_stage_ends_like_an_undisturbed_one(
        tiny, tmp_path, monkeypatch, learner):
    monkeypatch.setenv("PYTHONWARNINGS", kill.QUIET)
    flags = [*tiny(learner, *QUICK, *MORE.get(learner, [])), "--log_dir"]
    assert kill.start([*flags, str(tmp_path / "alone")], tmp_path / "alone.txt", "never") == 0
    output, again = tmp_path / "again.txt", [*flags, str(tmp_path / "again")]
    for moment in MOMENTS[learner]:
        assert kill.start(again, output, moment) == -signal.SIGKILL, (moment, output.read_text())
    assert kill.start(again, output, "never") == 0, output.read_text()
    alone, found = kill.ending(tmp_path / "alone"), kill.ending(tmp_path / "again")
    assert [name for name in alone if alone[name] != found.get(name)] == []
    assert "resuming: repeat 1/" in (tmp_path / "again" / "output.log").read_text()
