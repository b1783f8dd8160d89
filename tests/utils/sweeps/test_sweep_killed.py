"""A sweep of the real run.py."""

import os
import subprocess
import sys
import time

HANG_ONCE = """
import os, sys, time
from pathlib import Path
hung, renamed, parent = Path({hung!r}), [], os.getppid()
def watch(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("first/checkpoint.pt"):
        renamed.append(event)
        if len(renamed) == 3 and not hung.exists():
            hung.touch()
            while os.getppid() == parent:
                time.sleep(0.1)
            os._exit(1)  # as on Linux, where it dies with its parent
sys.addaudithook(watch)
"""


def test_a_killed_sweep_started_again_ends_like_its_runs_alone(tiny, script, root, environment, trainer, finished, lasting, tmp_path):
    runs = tmp_path / "my runs"
    first, second = (" ".join(tiny(name)) for name in ("NormalNN", "LWF"))
    path = script(f"$PYTHON run.py {first} --log_dir '{runs}/first'\n"
                  f"$PYTHON run.py {second} --load_model_dir '{runs}/first' --log_dir '{runs}/second'\n"
                  f"$PYTHON -m utils.reports.tables '{runs}/first' '{runs}/second'")
    command = ["sh", str(root / "experiments" / "sweep.sh"), path, "--runs_per_gpu", "2"]
    hooks, hung = tmp_path / "hooks", tmp_path / "hung"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HANG_ONCE.format(hung=str(hung)))  # the first run, before its third checkpoint
    path_of_modules = os.pathsep.join([str(hooks), *filter(None, [environment.get("PYTHONPATH")])])
    environment = {**environment, "PYTHON": sys.executable, "PYTHONPATH": path_of_modules}
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not hung.exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert [f"{runs}/{name}" in done.stdout for name in ("first   done  final accuracy", "second  done  final accuracy")] == [True, True]
    assert "accuracy (%) after task" in done.stdout
    assert "resuming: repeat" in (runs / "first" / "console.log").read_text()
    assert lasting(runs / "first") == lasting(finished("NormalNN"))
    trainer(tmp_path / "alone", "LWF", "--load_model_dir", runs / "first").run()
    assert lasting(runs / "second") == lasting(tmp_path / "alone")
