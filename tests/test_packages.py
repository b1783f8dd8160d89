"""install_requirements.sh and the files it reads, with programs in the place of Python, pip and uv."""

import re
import shutil
import subprocess

import pytest
from conftest import ROOT

FILES = sorted(ROOT.glob("requirements*.txt"))
FAKE = """#!/bin/sh
case "$*" in
    *flock*) [ -z "$WAIT" ] || { mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp *.txt .venv/; } ;;
    *version_info*) [ "${0##*/}" != python3 ] || [ -z "$OLD" ] ;;
    "-m venv "* | "venv "*) echo "${0##*/} venv" >> "$CALLS"; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *install*) echo "${0##*/} $*" >> "$CALLS"; echo "ERROR: no network" >&2; exit ${ENDS:-0} ;;
esac
"""
PIP = "python -m pip install -q --disable-pip-version-check -r requirements.txt"


def test_each_line_pins_one_version_and_those_of_pyproject_are_among_them():
    lines = [line for path in FILES for line in path.read_text().splitlines() if line[0] not in "#-"]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line)] == []
    wanted = re.findall(r'"([\w-]+)(==[\w.]+)?', (ROOT / "pyproject.toml").read_text().partition("[tool")[0])
    assert {name for name, _ in wanted} >= {"torch", "ray", "tensorboard", "pytest"}
    missing = [name + version for name, version in wanted
               if not any(re.match(f"{re.escape(name + version)}( |==|$)", line) for line in lines)]
    assert missing == []


@pytest.fixture
def install(tmp_path):
    """The script in a folder of its own: install("dev", NAME="value") -> (status, calls of pip and uv)."""
    for path in (ROOT / "install_requirements.sh", *FILES):
        shutil.copy(path, tmp_path)
    programs, calls = tmp_path / "programs", tmp_path / "calls"
    programs.mkdir()
    for name in ("sh", "cmp", "cp", "rm", "mkdir", "dirname", "cat"):
        (programs / name).symlink_to(shutil.which(name))

    def run(*groups, programs_named=("python3",), **environment):
        for name in programs_named:
            (programs / name).write_text(FAKE)
            (programs / name).chmod(0o755)
        calls.write_text("")
        done = subprocess.run(
            ["sh", "install_requirements.sh", *groups], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": str(programs), "CALLS": str(calls), **environment})
        run.said = done.stdout + done.stderr
        return done.returncode, calls.read_text().splitlines()

    return run


def test_what_is_missing_is_installed_once_and_after_a_failure_everything_again(install, tmp_path):
    assert install() == (0, ["python3 venv", PIP])
    assert install.said == "installing packages into .venv (once)\nERROR: no network\n"
    assert install() == (0, []) and install.said == ""
    assert install("dev", ENDS="1")[0] == 1
    assert install("dev") == (0, ["python3 venv", f"{PIP} -r requirements-dev.txt"])
    assert install("dev") == install() == (0, [])
    with (tmp_path / "requirements.txt").open("a") as file:
        file.write("another==1\n")
    assert install() == (0, [PIP])
    (tmp_path / ".venv" / "bin" / "python").unlink()
    assert install() == (0, ["python3 venv", PIP])


def test_a_call_that_waited_for_another_finds_all_done(install):
    assert install(WAIT="1") == (0, [])


def test_an_old_python_is_passed_over_or_refused_in_one_line(install):
    assert install(OLD="1") == (1, []) and install.said.count("\n") == 1
    assert "needs Python 3.11" in install.said
    assert install(OLD="1", programs_named=("python3", "python3.12"))[1][0] == "python3.12 venv"


def test_uv_installs_if_it_is_there_and_nothing_does_if_an_interpreter_is_given(install):
    assert install(PYTHON="no-such-python") == (0, []) and install.said == ""
    assert install(programs_named=("python3", "uv")) == (
        0, ["uv venv", "uv pip install -q --python .venv/bin/python -r requirements.txt"])
