"""A sweep of the real run.py."""

import subprocess
import sys
import time


def test_a_killed_sweep_started_again_ends_like_its_runs_alone(tiny, script, root, environment, trainer, finished, lasting, tmp_path):
    runs = tmp_path / "my runs"
    first, second = (" ".join(tiny(name)) for name in ("NormalNN", "LWF"))
    path = script(f"$PYTHON run.py {first} --log_dir '{runs}/first'\n"
                  f"$PYTHON run.py {second} --load_model_dir '{runs}/first' --log_dir '{runs}/second'\n"
                  f"$PYTHON -m utils.reports.tables '{runs}/first' '{runs}/second'")
    command = ["sh", str(root / "experiments" / "sweep.sh"), path, "--runs_per_gpu", "2"]
    environment = {**environment, "PYTHON": sys.executable}
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    console = runs / "first" / "console.log"
    while "epoch 1/2" not in (console.read_text() if console.exists() else ""):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert [f"{runs}/{name}" in done.stdout for name in ("first   done  final accuracy", "second  done  final accuracy")] == [True, True]
    assert "accuracy (%) after task" in done.stdout
    assert "resuming: repeat" in console.read_text()
    assert lasting(runs / "first") == lasting(finished("NormalNN"))
    trainer(tmp_path / "alone", "LWF", "--load_model_dir", runs / "first").run()
    assert lasting(runs / "second") == lasting(tmp_path / "alone")
