"""A run that is killed goes on as if it had not been. tests/kill.py kills at any moment."""

import signal
import subprocess
import sys

KILLED = """
import os, signal, sys, run
from utils.training.log import Log
line = Log.line
def last_line(self, text, **more):
    line(self, text, **more)
    if "task 2/2  learn  epoch 1/2" in text:
        os.kill(os.getpid(), signal.SIGKILL)
Log.line, sys.argv = last_line, ["run.py", *{flags}]
run.main()
"""


def test_a_killed_run_ends_like_an_undisturbed_one(finished, lasting, tiny, environment, root, tmp_path):
    flags = tiny("AlwaysBeDreaming", "--log_dir", tmp_path)
    code = KILLED.format(flags=flags)
    killed = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = subprocess.run([sys.executable, str(root / "run.py"), *flags], env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "resuming: repeat 1/1, task 2, stage" in done.stdout
    assert lasting(tmp_path) == lasting(finished("AlwaysBeDreaming"))
