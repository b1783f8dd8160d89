"""Style and types of the whole code, as pyproject.toml has them."""

import importlib.util
import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", ["ruff check --no-cache", "mypy"])
def test_the_code_passes(root, command):
    tool, *arguments = command.split()
    if not importlib.util.find_spec(tool):
        pytest.skip(f"{tool} is not installed; install_requirements.sh names its version")
    done = subprocess.run([sys.executable, "-m", tool, *arguments], cwd=root, capture_output=True, text=True,
        timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
