"""Who listens to a run is told of every moment, in order, and decides nothing of what is computed."""

import subprocess
import sys

from utils.training.listeners import Listener

MOMENTS = [name for name in vars(Listener) if not name.startswith("_")]


class Recorder(Listener):
    """Notes the moments: (name, repeat, task, stage, epoch), counted from 0."""

    def __init__(self):
        self.told = []
        for moment in MOMENTS:
            setattr(self, moment, self.note(moment))

    def note(self, moment):
        def note(*given):
            place = given[0].place if given else None
            self.told.append((moment, *([place.repeat, place.task, place.stage, place.epoch] if place else [])))

        return note


def test_each_moment_is_told_in_order(trainer, tmp_path):
    run, recorder = trainer(tmp_path, "AlwaysBeDreaming"), Recorder()
    run.listeners.append(recorder)
    run.run()
    steps = 282 // 64

    def epoch(task, stage, number, count=steps):
        place = (0, task, stage, number)
        return [("epoch_began", *place), *[("step_taken", *place)] * count, ("epoch_ended", *place)]

    assert recorder.told == [
        ("repeat_began", 0, 0, 0, 0), *epoch(0, 0, 0), *epoch(0, 0, 1), ("stage_ended", 0, 0, 0, 2), ("task_ended", 0, 0, 1, 0),
        *epoch(1, 0, 0, 4), ("stage_ended", 0, 1, 0, 1), *epoch(1, 1, 0), *epoch(1, 1, 1), ("stage_ended", 0, 1, 1, 2),
        ("task_ended", 0, 1, 2, 0), ("run_ended", 1, 0, 0, 0), ("close",)]
    assert {moment for moment, *_ in recorder.told} == set(MOMENTS)


def test_a_run_that_nobody_listens_to_learns_the_same(trainer, finished, tmp_path):
    run = trainer(tmp_path, "NormalNN", "--no_figures", 0)
    run.listeners.clear()
    results = run.run()
    assert not (tmp_path / "models").exists() and not (tmp_path / "results-acc").exists() and not (tmp_path / "figures").exists()
    assert results.matrix == trainer(finished("NormalNN"), "NormalNN").run().matrix


def test_a_run_without_figures_imports_no_code_for_them(tiny, environment, root, tmp_path):
    flags = tiny("NormalNN", "--max_task", 1, "--schedule", 1, "--no_figures", "--log_dir", tmp_path / "run")
    code = (
        "import sys, run; status = run.main(); "
        "print([name for name in sys.modules if name in ('matplotlib', 'utils.reports.figures', 'utils.reports.tensorboard')], status)")
    done = subprocess.run([sys.executable, "-c", code, *flags], env=environment, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stderr
    assert "repeat 1/1: NormalNN, 1 task, on cpu" in done.stdout
