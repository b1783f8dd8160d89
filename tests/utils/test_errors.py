"""How commands end, and that importing our code has no effect on the program that does it."""

import errno
import os
import pkgutil
import signal
import subprocess
import sys

import pytest

from utils.errors import RunError, Stopped, StopRequest, UserError, run_main


@pytest.fixture
def python(root, environment):
    """python(code, redirection="", variable=value, ...) -> a finished process, started in the repository."""

    def run(code, redirection="", **variables):
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", code], cwd=root,
            env={**environment, **variables}, stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a background job ignores it

    return run


@pytest.fixture
def ends(monkeypatch, capsys):
    """ends(error) -> the exit status of a command that raises it, and stderr; signals stay as they are."""
    monkeypatch.setattr("utils.errors.answer_signals", lambda handler: {})

    def run(error):
        def main():
            if error:
                raise error

        return run_main("it", main), capsys.readouterr().err

    return run


def command(body):
    head = "import os, signal, subprocess, sys\nfrom utils.errors import run_main\n"
    return f"{head}def main():\n    {body}\nsys.exit(run_main('it', main))"


@pytest.mark.parametrize(("error", "status", "line"), [
    (None, 0, ""), (UserError("--lr: no"), 2, "it: --lr: no\n"), (RunError("failed"), 1, "it: failed\n"),
    (Stopped(signal.SIGHUP, "resume it"), 143, "it: resume it\n"),
    (KeyboardInterrupt(), 130, "it: stopped\n"), (BrokenPipeError(), 0, ""),
    (MemoryError(), 1, "it: MemoryError\n"),
    (OSError(errno.ENOSPC, "No space left", "file"), 1, "it: [Errno 28] No space left: 'file'\n"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you\nmore"), 1,
     "it: DefaultCPUAllocator: can't allocate memory: you\n")])
def test_what_a_user_can_cause_is_one_line_and_a_status(ends, error, status, line):
    assert ends(error) == (status, line)


def test_a_defect_keeps_its_traceback(ends):
    with pytest.raises(FileNotFoundError):
        ends(FileNotFoundError(2, "none"))


@pytest.mark.parametrize(("number", "status"), [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGUSR1, 143)])
def test_a_signal_closes_what_is_open_and_is_one_line(python, number, status):
    done = python(command(f"try: signal.raise_signal({int(number)})\n    finally: print('closed')"))
    assert (done.returncode, done.stdout, done.stderr) == (status, b"closed\n", b"it: stopped\n")


def test_the_first_signal_is_noted_and_a_second_interrupt_would_end_the_process(capfd):
    host = signal.signal(signal.SIGINT, signal.default_int_handler)
    with StopRequest() as request:
        signal.raise_signal(signal.SIGUSR1)
        assert request.signal == signal.SIGUSR1 and signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert signal.signal(signal.SIGINT, host) == signal.default_int_handler
    assert capfd.readouterr().err == "run.py: stopping after the current step; Ctrl-C stops at once\n"


# Streams


def test_a_terminal_that_lacks_a_character_shows_another(python):
    done = python(command(r"print('5 \xb1 1')"), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"5 ? 1\n", b"")


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere_and_no_file_takes_their_place(python, tmp_path, closed):
    """What is printed, by a child too, does not end in a file of the run."""
    path = tmp_path / "results"
    body = (f"file = open({str(path)!r}, 'w'); print('lost'); print('lost', file=sys.stderr);"
            "subprocess.run(['sh', '-c', 'echo lost; echo lost >&2']);"
            "file.write('kept'); return file.fileno() < 3")
    assert (python(command(body), closed).returncode, path.read_text()) == (0, "kept")


def test_a_reader_that_has_had_enough_is_no_failure(python):
    done = python(command("[print('line') for _ in range(9999)]"), "| head -n 1")
    assert (done.stdout, done.stderr) == (b"line\n", b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("body", ["print('the table')", "from utils.errors import Parser; "
                                  "Parser().parse_args(['--help'])"])
def test_output_that_a_full_disk_took_is_one_line(python, body, unbuffered):
    done = python(command(body), ">/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (1, b"it: [Errno 28] No space left on device\n")


def test_figures_are_drawn_with_a_notebooks_backend_and_without_latex(python, tmp_path):
    """`!python run.py` in Jupyter inherits the name of a backend that our Python lacks."""
    (rc := tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    body = ("from pathlib import Path; from utils.reports.figures import Figure, save_figure;"
            "figure = Figure(); axes = figure.add_subplot(title='a_b'); axes.plot([1, 3]);"
            f"save_figure(Path({str(tmp_path / 'a.png')!r}), figure)")
    done = python(command(body), MPLBACKEND="module://no_such.backend", MATPLOTLIBRC=str(rc))
    assert (done.returncode, done.stderr) == (0, b"") and (tmp_path / "a.png").exists()


# Imports

HOST = """
import importlib, logging, os, signal, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
def state():
    handlers = [signal.getsignal(number) for number in (1, 2, 10, 13, 15)]
    return dict(os.environ), sys.stdout, sys.stderr, sys.stdin, handlers, list(sys.path)
before = state()
for name in {names}:
    importlib.import_module(name)
logging.warning("still here")
assert before == state()
"""


def test_importing_everything_leaves_the_host_program_as_it_was(python, root):
    packages = ["learners", "models", "dataloaders", "utils"]
    names = ["run", *packages] + [
        module.name for package in packages
        for module in pkgutil.walk_packages([str(root / package)], f"{package}.")]
    assert "utils.device" in names and "learners.bic" in names
    done = python(HOST.format(names=names))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"still here\n", b"")


def test_another_package_called_utils_does_not_shadow_ours(root, environment, tmp_path):
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "__init__.py").write_text("raise SystemExit('another package called utils')")
    variables = {**environment, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "run.py", "--help"], cwd=root, env=variables, capture_output=True,
                          text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: ")
