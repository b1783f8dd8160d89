"""What every command finds: streams that take anything, a served system, our own modules."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from utils.startup import PACKAGES

TEXT = ascii("5 ± 1, café, Łódź, \udce9, 犬")
PRINT = f"import utils, sys; print({TEXT}); print({TEXT}, file=sys.stderr)"
LOCALES = [
    {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "iso-8859-2"}, {"PYTHONIOENCODING": "utf-8"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]


@pytest.fixture
def python(root, environment):
    """python(code, variable=value, ..., redirection=...) -> a finished process that began in the repository's root."""

    def run(code, redirection="", **variables):
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", code], env={**environment, **variables}, cwd=root,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=120)

    return run


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: "-".join(locale.values()))
def test_no_text_is_too_odd_for_a_terminal(python, locale):
    done = python(PRINT, **locale)
    assert done.returncode == 0, done.stderr
    encoding = locale.get("PYTHONIOENCODING", "ascii")
    expected = {
        "ascii": "5 +/- 1, cafe, \\u0141odz, \\udce9, \\u72ac", "iso-8859-2": "5 +/- 1, café, Łódź, \\udce9, \\u72ac",
        "utf-8": "5 ± 1, café, Łódź, \\udce9, 犬"}
    shown = done.stdout.decode(encoding, "surrogateescape").strip()
    assert shown.replace("\udce9", "\\udce9") == expected[encoding]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere_and_no_file_takes_their_place(python, tmp_path, closed):
    """What is printed ends in no file of the run."""
    path = tmp_path / "results"
    code = (f"import utils, os, sys; file = open({str(path)!r}, 'w'); print('lost'); print('lost', file=sys.stderr); os.write(2, b'lost');"
            "import subprocess; subprocess.run(['sh', '-c', 'echo lost; echo lost >&2']); file.write('kept'); sys.exit(file.fileno() < 3)")
    done = python(code, closed)
    assert (done.returncode, path.read_text()) == (0, "kept"), done.stderr


def test_a_pipe_that_nobody_reads_is_no_failure(root, environment):
    code = "import utils, sys; [print('line', flush=True) for _ in range(9999)]; sys.exit(utils.startup.finish('it'))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_output_that_a_full_disk_took_is_one_line(python):
    done = python("import utils, sys; print('the table'); sys.exit(utils.startup.finish('tables'))", ">/dev/full")
    assert (done.returncode, done.stderr.decode()) == (1, "tables: stdout: No space left on device; a part of the output is lost\n")


@pytest.mark.parametrize("missing", ["sys.platform = 'win32'", "sys.modules['fcntl'] = None"])
@pytest.mark.parametrize("entry", [
    "sys.argv = ['run.py']; runpy.run_path('run.py', run_name='__main__')", "runpy.run_module('utils.reports.tables', run_name='__main__')",
    "runpy.run_module('utils.sweeps.sweep', run_name='__main__')", "runpy.run_module('utils.benchmark', run_name='__main__')"])
def test_a_system_that_is_not_served_is_one_line(python, missing, entry):
    done = python(f"import runpy, sys; {missing}; {entry}")
    line, = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (2, b"")
    assert "Linux, macOS and Windows' WSL" in line


def command_of(entry):
    """How a user starts run.py or a module."""
    return [sys.executable, entry] if entry.endswith(".py") else [sys.executable, "-m", entry]


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
COMMANDS = [
    "run.py", "utils.reports.tables", "utils.reports.diagnose", "utils.reports.settings_page", "utils.sweeps.sweep", "utils.benchmark",
    "dataloaders.image_folder"]


@pytest.mark.parametrize("entry", COMMANDS)
def test_a_python_without_the_packages_is_one_line(root, environment, entry):
    _, *command = command_of(entry)
    done = subprocess.run([sys.executable, "-S", *command], cwd=root, env=environment, capture_output=True, text=True, timeout=120)
    line, = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith(f"{entry}: {sys.executable} has no torch, torchvision, numpy, ") and ".venv/bin/python" in line


def test_an_old_python_is_one_line(python):
    done = python("import sys; sys.version_info = (3, 9, 2); import utils")
    line, = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (2, b"")
    assert "is Python 3.9, and 3.10 or newer is needed" in line


@pytest.mark.parametrize("name", ["__init__", "startup", "threads"])
def test_what_is_imported_first_is_read_by_an_old_python(root, name):
    tree = ast.parse((root / "utils" / f"{name}.py").read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in names} - {"utils"} <= sys.stdlib_module_names
    annotated = any(node.returns or node.args.args for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    assert not annotated or "__future__" in names  # else list[int] and int | None would be computed


def test_the_packages_looked_for_are_those_imported(root):
    """But for the optional ones."""
    paths = [root / "run.py", *(path for name in ("utils", "learners", "models", "dataloaders") for path in (root / name).rglob("*.py"))]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    ours = {"utils", "learners", "models", "dataloaders"}
    assert {name.partition(".")[0] for name in names} - ours - sys.stdlib_module_names == {*PACKAGES, "ray"}


@pytest.fixture
def signalled(root, environment, tmp_path):
    """A command in which the first import of one of these modules sends the process a signal:
    signalled(command, signal, module, ...) -> a finished process."""

    def run(command, number, *modules):
        for module in modules:
            (tmp_path / f"{module}.py").write_text(f"import signal; signal.raise_signal({number:d})")
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        return subprocess.run(
            command, env={**environment, "PYTHONPATH": str(tmp_path)}, cwd=root, capture_output=True, text=True, timeout=120,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    return run


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("entry", COMMANDS)
def test_a_signal_while_modules_are_imported_is_one_line(signalled, entry, number, status):
    done = signalled(command_of(entry), number, "torch", "numpy")
    assert (done.returncode, done.stdout, done.stderr) == (status, "", f"{entry}: stopped before any work\n")


STOPPED_AT_WORK = """
import sys
from utils.startup import run_command
def main():
    try:
        import late
    finally:
        print("closed")
sys.exit(run_command("it", main))"""


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_command_that_a_signal_stops_closes_what_it_has_open_and_says_so(signalled, number, status):
    done = signalled([sys.executable, "-c", STOPPED_AT_WORK], number, "late")
    assert (done.returncode, done.stdout, done.stderr) == (status, "closed\n", "it: stopped\n")


@pytest.mark.parametrize("entry", COMMANDS)
def test_every_command_is_stopped_so(root, entry):
    path = root / entry.replace(".", "/")
    source = root / entry if entry.endswith(".py") else path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert source.read_text(encoding="utf-8").splitlines()[-1].strip().startswith("sys.exit(run_command(")


def test_sigterm_before_a_run_begins_is_one_line(signalled, tiny, tmp_path):
    """When figures are to be drawn, matplotlib is imported; then the run's folder is already there."""
    done = signalled([sys.executable, "run.py", *tiny("NormalNN", "--no_figures", 0, "--log_dir", tmp_path / "run")], signal.SIGTERM, "matplotlib")
    assert (done.returncode, done.stderr) == (143, "run.py: stopped before any work\n")


def test_a_process_that_only_imports_our_code_answers_signals_as_before(python):
    done = python("import signal; before = signal.getsignal(2), signal.getsignal(15); import utils;"
                  "print(before == (signal.getsignal(2), signal.getsignal(15)))")
    assert done.stdout == b"True\n"


def test_without_a_home_caches_have_a_place_and_nothing_warns(python, tmp_path):
    code = "import utils, matplotlib; print(matplotlib.get_cachedir())"
    unset = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**unset, "HOME": "/nowhere", "TMPDIR": str(tmp_path)}, cwd=Path(__file__).resolve().parents[2],
        capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(tmp_path / f"matplotlib-{os.getuid()}")


@pytest.fixture
def foreign(tmp_path):
    """A folder of other packages of our names, each of which ends the process."""
    for name in ("utils", "learners", "models", "dataloaders"):
        (tmp_path / "foreign" / name).mkdir(parents=True)
        (tmp_path / "foreign" / name / "__init__.py").write_text(f"raise SystemExit('another package called {name}')")
    return tmp_path / "foreign"


def test_our_modules_win_and_a_run_needs_no_terminal(root, environment, tiny, foreign, tmp_path):
    """All at once: other packages of our names, a Python that looks into no current folder, an ASCII terminal."""
    variables = {"PYTHONPATH": str(foreign), "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "ascii"}
    flags = tiny("NormalNN", "--repeat", 2, "--parallel", 2, "--schedule", 1, "--log_dir", tmp_path / "run")
    done = subprocess.run(
        [sys.executable, str(root / "run.py"), *flags], env={**environment, **variables}, cwd=tmp_path, capture_output=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b" +/- " in done.stdout.splitlines()[-1]
    assert "±" in (tmp_path / "run" / "output.log").read_text(encoding="utf-8").splitlines()[-1]


def test_no_command_begins_with_importing_torchvision(python):
    """It takes as long as torch, and only reading images needs it."""
    done = python(f"import importlib, sys; [importlib.import_module(name) for name in {[name.removesuffix('.py') for name in COMMANDS]}];"
                  "sys.exit('torchvision' in sys.modules)")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_run_ends_well_without_standard_streams(root, environment, tiny, tmp_path):
    command = [sys.executable, str(root / "run.py"), *tiny("NormalNN", "--schedule", 1, "--log_dir", tmp_path)]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], env=environment, capture_output=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "output.log").read_text().splitlines()[-1].startswith("final accuracy: ")


def test_scripts_take_our_modules(root, environment, foreign):
    variables = {"PYTHONPATH": str(foreign), "PYTHONSAFEPATH": "1", "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", str(root / "experiments" / "tables.sh"), "--help"], env={**environment, **variables}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: utils.reports.tables")


def test_every_folder_of_ours_is_a_package(root):
    for name in ("utils", "learners", "models", "dataloaders"):
        folders = {path.parent for path in (root / name).rglob("*.py")}
        assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
