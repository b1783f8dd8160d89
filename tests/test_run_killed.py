"""A run that is killed goes on as if it had not been."""

import signal
import subprocess
import sys


def test_a_killed_run_ends_like_an_undisturbed_one(finished, lasting, tiny, environment, root, tmp_path):
    command = [sys.executable, str(root / "run.py"), *tiny("AlwaysBeDreaming", "--log_dir", tmp_path)]
    for moment in ("task 1/2  accuracy", "task 2/2  dream  round 1/1", "task 2/2  learn  epoch 1/2"):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert any(moment in line for line in process.stdout), process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "resuming: repeat 1/1" in done.stdout
    assert lasting(tmp_path) == lasting(finished("AlwaysBeDreaming"))
