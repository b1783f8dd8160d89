"""install_requirements.sh and the files it reads, with programs in place of Python and pip."""

import ast
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(ROOT.glob("requirements*.txt"))
PRODUCT = [ROOT / "run.py", *(path for name in ("utils", "learners", "models", "dataloaders") for path in (ROOT / name).rglob("*.py"))]
OF_TESTS = {"pytest", "hypothesis", "mypy", "ruff", "execnet", "pytest-xdist"}


def pinned(path):
    """Names in a file of requirements; each line must name one version."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "-c "))]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line)] == []
    return {line.partition("==")[0] for line in lines}


def test_versions_are_pinned_and_what_tests_need_is_apart():
    names = {path.name: pinned(path) for path in FILES}
    assert names.keys() == {f"requirements{group}.txt" for group in ("", "-cuda", "-dev", "-ray", "-tensorboard")}
    assert {"torch", "torchvision", "numpy", "sympy"} <= names["requirements.txt"]
    assert not OF_TESTS & names["requirements.txt"] and OF_TESTS <= names["requirements-dev.txt"]
    assert "ray" in names["requirements-ray.txt"] and "tensorboard" in names["requirements-tensorboard.txt"]


def test_files_name_the_versions_of_pyproject():
    wanted = re.findall(r'"([\w-]+)==([\w.]+)"', (ROOT / "pyproject.toml").read_text())
    lines = {line for path in FILES for line in path.read_text().splitlines()}
    assert len(wanted) > 8
    assert [pair for pair in wanted if "==".join(pair) not in lines] == []


def test_no_tool_of_tests_is_in_the_code():
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(
                node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"unittest", "pytest", "_pytest", "hypothesis"}, path


@pytest.fixture
def install(tmp_path):
    """A copy of the script in a folder with a python3 that makes a .venv whose pip writes down what it is to install and ends
    with the status in the file "status": install(group, ...) -> (status, lines of stdout and stderr, the calls of pip)."""
    for path in (ROOT / "install_requirements.sh", *FILES):
        shutil.copy(path, tmp_path)
    calls, status, programs = tmp_path / "calls", tmp_path / "status", tmp_path / "programs"
    programs.mkdir()
    fake = programs / "python3"
    fake.write_text(f"""#!/bin/sh
case "$*" in
    *flock*) exec "{sys.executable}" "$@" ;;
    "-c "*) exit 0 ;;
    "-m venv "*) echo venv >> "{calls}"; rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *--version) exit 0 ;;
    *install*) echo "$*" | sed "s/.*pip-version-check *//" >> "{calls}"; echo "ERROR: no network"; exit $(cat "{status}") ;;
esac
""")
    fake.chmod(0o755)

    def run(*groups, ends=0, meanwhile=lambda process: None):
        calls.write_text("")
        status.write_text(str(ends))
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        command = ["sh", str(tmp_path / "install_requirements.sh"), *groups]
        with subprocess.Popen(command, env={**environment, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            meanwhile(process)
            out, errors = process.communicate(timeout=60)
        return process.returncode, out.splitlines(), errors.splitlines(), calls.read_text().splitlines()

    return run


SAID = ["installing packages into .venv (once)"]


def test_a_run_installs_no_tool_of_tests_and_a_second_call_nothing(install):
    assert install() == (0, SAID, [], ["venv", "-r requirements.txt"])
    assert install() == (0, [], [], [])


def test_groups_are_added_to_an_environment_that_is_there(install):
    install()
    assert install("dev", "ray") == (0, SAID, [], ["-r requirements-dev.txt -r requirements-ray.txt"])
    assert install("ray") == install("dev") == install() == (0, [], [], [])


def test_a_changed_file_is_installed(install, tmp_path):
    install("dev")
    with (tmp_path / "requirements.txt").open("a") as file:
        file.write("another==1\n")
    assert install("dev") == (0, SAID, [], ["-r requirements.txt"])


def test_no_internet_is_one_line_and_the_next_call_repairs(install):
    status, _, (line,), _ = install(ends=1)
    assert status == 1
    assert line.startswith("install_requirements.sh: pip could not install") and "ERROR: no network" in line and "internet" in line
    assert install() == (0, SAID, [], ["--ignore-installed -r requirements.txt"])
    assert install() == (0, [], [], [])


def test_an_environment_whose_python_is_gone_is_made_again(install, tmp_path):
    install("dev")
    (tmp_path / ".venv" / "bin" / "python").unlink()
    (tmp_path / ".venv" / "requirements-dev.txt").unlink()
    assert install("dev")[3] == ["venv", "-r requirements.txt -r requirements-dev.txt"]


def test_of_two_at_the_same_time_one_installs_and_the_other_waits(install, tmp_path):
    with (tmp_path / "requirements.txt").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the first has it

        def end_the_first(second):
            assert second.stdout.readline() == "waiting for another installation in this folder\n"
            (tmp_path / ".venv" / "bin").mkdir(parents=True)
            shutil.copy(tmp_path / "programs" / "python3", tmp_path / ".venv" / "bin" / "python")
            shutil.copy(tmp_path / "requirements.txt", tmp_path / ".venv")
            fcntl.flock(file, fcntl.LOCK_UN)

        assert install(meanwhile=end_the_first) == (0, [], [], [])


def test_another_group_is_one_line(install):
    status, _, (line,), calls = install("test")
    assert (status, calls) == (1, [])
    assert "requirements-test.txt" in line and "dev, ray and tensorboard" in line


def test_windows_itself_is_one_line(install, tmp_path):
    uname = tmp_path / "programs" / "uname"
    uname.write_text("#!/bin/sh\necho MINGW64_NT-10.0\n")
    uname.chmod(0o755)
    status, _, (line,), _ = install()
    assert status == 1 and "WSL" in line


def test_the_tests_install_all_groups():
    assert "sh install_requirements.sh dev ray tensorboard" in (ROOT / "tests" / "run.sh").read_text()
