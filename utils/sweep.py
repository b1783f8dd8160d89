"""Run many runs at once on Ray: on the GPUs or cores of this machine, or of a cluster (docs/sweeps.md).

    sh experiments/sweep.sh experiments/cifar100-fivetask.sh --runs_per_gpu 4
    sh experiments/sweep.sh --grid mu=0.05,0.1 --seeds 2 -- --config FILE ... --log_dir outputs/search

The same command resumes a sweep, whatever ended it. Exit status: as run.py's; 1 if a run failed.
"""

import ctypes
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from learners import REGISTRY
from utils.command_line import parse, parser_of
from utils.device import default_threads
from utils.errors import Parser, Stopped, StopRequest, UserError, run_main
from utils.files import user_path
from utils.settings import Settings

RUN = [sys.executable, str(Path(__file__).resolve().parents[1] / "run.py")]
# In place of Python: notes its arguments, a NUL after each, and ends the line.
RECORDER = '#!/bin/sh\n{ printf "%s\\0" "$@"; echo; } >> "$0.calls"\n'

Run = tuple[list[str], Settings]  # arguments of run.py, and what they mean


# Which runs


def recorded_calls(script: Path, words: list[str]) -> list[list[str]]:
    """The arguments of each call of $PYTHON in a script, found by running it with another $PYTHON.
    Raises UserError."""
    with tempfile.TemporaryDirectory() as folder:
        python, calls = Path(folder, "python"), Path(folder, "python.calls")
        python.write_text(RECORDER)
        python.chmod(0o755)
        calls.touch()
        done = subprocess.run(
            ["sh", script, *words], env={**os.environ, "PYTHON": str(python)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise UserError(f"{script}: ends with status {done.returncode}: {done.stderr.strip()}")
        return [call.split("\0") for call in calls.read_text().split("\0\n")[:-1]]


def once(words: list[str]) -> list[str]:
    """A command line with each flag once: the last one counts, but --config takes the files of all."""
    flags: list[str] = []
    for name, value in vars(parser_of(REGISTRY.flags).parse_args(words)).items():
        values = value if isinstance(value, list) else [value]
        flags += [f"--{name}", *(word for word in values if word is not True)] if values else []
    return flags


def planned(calls: list[list[str]], grid: list[list[str]]) -> list[Run]:
    """A run for each call of run.py, combination of the grid (lists of NAME=VALUE) and seed; those that take
    over the first task of another come last. Raises UserError if a flag is wrong."""
    runs: dict[str, Run] = {}
    for call, values in product(calls, product(*grid)):
        label = ",".join(values)
        words = [*call, *(word for value in values for word in f"--{value}".replace("=", " ", 1).split())]
        given = parse(REGISTRY, words)
        folder, source = Path(given.log_dir, label), given.load_model_dir
        # A run begun with all repeats in one folder continues there; so does one that takes its first tasks.
        begun = any(Path(path, "args.yaml").exists() for path in (folder, source))
        split = given.repeat > 1 and not begun
        for seed in range(given.seed, given.seed + given.repeat) if split else [given.seed]:
            name = f"seed-{seed}"
            flags = ["--seed", str(seed), "--repeat", "1"] if split else []
            sources = [str(Path(source, *part)) for part in ((label, name), (name,), (label,)) if source]
            known = [path for path in sources if path in runs or Path(path, "args.yaml").exists()]
            flags += ["--load_model_dir", known[0]] if known else []
            command = once([*words, *flags, "--log_dir", str(folder / name if split else folder)])
            settings = replace(parse(REGISTRY, command), gpuid=[0])
            if runs.setdefault(settings.log_dir, (command, settings))[1] != settings:
                raise UserError(f"--log_dir {settings.log_dir}: two runs have it, with other settings")
    return sorted(runs.values(), key=lambda run: run[1].load_model_dir in runs)


# Ray


def attempt(
    command: list[str], log_dir: Path, folder: Path, threads: int, source: tuple[int, str],
) -> tuple[int, str]:
    """Run a command, again if it fails, unless its ``source`` has failed. Return the exit status and the last
    line; ray.cancel sends SIGTERM. Imports nothing of this repository, which the node might not find."""
    if source[0]:
        return source
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": str(threads)}
    log_dir.mkdir(parents=True, exist_ok=True)
    with open(log_dir / "console.log", "wb") as console:
        for _ in range(2):
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, cwd=folder,
                env=environment, start_new_session=True,
                preexec_fn=lambda: prctl(1, signal.SIGKILL))  # PR_SET_PDEATHSIG: the run dies with Ray
            try:
                while process.poll() is None:
                    time.sleep(0.1)  # not wait(), which ray.cancel does not interrupt
            except KeyboardInterrupt:
                process.terminate()
                return process.wait(), "stopped"
            if process.returncode in (0, 2):  # what was refused would be refused again
                break
    printed = (log_dir / "console.log").read_text(errors="replace").rstrip().rpartition("\n")[2]
    return process.returncode, printed.removeprefix("run.py: ") or f"exit status {process.returncode}"


def start_ray() -> Any:
    """Join the cluster at $RAY_ADDRESS, or start Ray on this machine. Return the module. Raises UserError."""
    # Send nothing to Ray's makers, run at normal priority, and print no warning about CUDA_VISIBLE_DEVICES.
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        os.environ.setdefault(name, "0")
    try:
        import ray

        ray.init(os.environ.get("RAY_ADDRESS", "local"), log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise UserError(f"Ray can neither be started nor joined ({' '.join(str(error).split())})") from error
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return ray


def work(runs: list[Run], ray: Any, runs_per_gpu: int, stop_request: StopRequest) -> int:
    """Hand the runs to Ray, which starts each once there is room and its source has ended, and print how each
    ends. After a signal, stop them. Return the number that finished."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = (int(max(node.get(name, 0) for node in nodes)) for name in ("CPU", "GPU"))
    places = runs_per_gpu * max(1, gpus)
    threads = default_threads(min(places, len(runs)))
    need = dict(num_cpus=0, num_gpus=1 / runs_per_gpu) if gpus else dict(num_cpus=cpus / places)
    start = ray.remote(max_retries=10, **need)(attempt).remote  # Ray's retries are for lost nodes
    tasks: dict[str, Any] = {}
    for arguments, settings in runs:
        command, folder = [*RUN, *arguments, "--gpuid", "0" if gpus else "-1"], Path.cwd()
        source = tasks.get(settings.load_model_dir, (0, ""))
        tasks[settings.log_dir] = start(command, folder / settings.log_dir, folder, threads, source)
    left = {task: name for name, task in tasks.items()}
    finished = drawn = 0
    while left and not stop_request.signal:
        for task in ray.wait([*left], timeout=0.5)[0]:
            name = left.pop(task)
            try:
                status, message = ray.get(task)
            except Exception as error:  # Ray's, or one of the folder
                status, message = 1, str(error).rstrip().rpartition("\n")[2]
            finished += status == 0
            drawn = show([], drawn)
            end = "failed" if status else "done"
            print(f"{len(runs) - len(left)}/{len(runs)}  {name}  {end}: {message}", flush=True)
        drawn = show([*left.values()], drawn)
    show([], drawn)
    for task in reversed([*left]):  # those that wait first
        ray.cancel(task)
    if left:
        ray.wait([*left], num_returns=len(left), timeout=60)
    return finished


def show(names: list[str], drawn: int) -> int:
    """Replace the ``drawn`` lines above by the latest line of each run under way, on a terminal. Return their
    number."""
    width, height = shutil.get_terminal_size()
    consoles = [Path(name, "console.log") for name in names if sys.stderr.isatty()]
    texts = {path.parent: path.read_text(errors="replace").rstrip().rpartition("\n")[2]
             for path in consoles if path.exists()}
    # A text is cut at its beginning: the time left is at its end.
    lines = [f"{name}  {text[len(str(name)) + 3 - width :]}"[: width - 1] for name, text in texts.items()]
    up = f"\x1b[{drawn}A\x1b[J" if drawn else ""
    print(up + "".join(f"{line}\n" for line in lines[1 - height :]), end="", file=sys.stderr, flush=True)
    return len(lines[1 - height :])


# The command


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        "experiments/sweep.sh", description="Run many runs at once.", allow_abbrev=False,
        usage="%(prog)s [SCRIPT ...] [flags below] [-- flags of the scripts, or of run.py if there is none]")
    add = parser.add_argument
    add("scripts", nargs="*", type=user_path, metavar="SCRIPT", help="for example experiments/demo.sh")
    add("--grid", action="append", nargs="?", const="", default=[], metavar="NAME=V,V",
        help="a run for each value of a setting")
    add("--seeds", type=int, metavar="N", help="a run for each of N seeds, as --repeat")
    add("--runs_per_gpu", type=int, default=1, choices=range(1, 99), metavar="N",
        help="runs at a time on each GPU, or on the CPU if there is none; default: 1")
    add("--list", action="store_true", help="print the runs, numbered, and do nothing else")
    add("--only", type=int, metavar="K", help="run the K-th of the list alone, as its script would")
    arguments = sys.argv[1:] if arguments is None else arguments
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given, words = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    os.environ.pop("STARTED_IN", None)  # paths in the scripts are relative to the repository
    grid = []
    for text in given.grid:
        name, _, values = text.partition("=")
        if not name or not all(values.split(",")):
            raise UserError(f"--grid {text!r}: give a setting and its values, such as --grid mu=0.05,0.1")
        grid.append([f"{name}={value}" for value in values.split(",")])
    if not given.scripts and not arguments[end:]:
        raise UserError("name a script, or give flags of run.py after --; --help explains both")
    calls = [call for script in given.scripts for call in recorded_calls(script, words)]
    if not given.scripts:
        call = ["run.py", "--log_dir", "outputs/search", *words]
        calls = [call, ["-m", "utils.reports.tables", parse(REGISTRY, call[1:]).log_dir]]
    seeds = ["--repeat", str(given.seeds)] if given.seeds else []
    runs = planned([[*call[1:], *seeds] for call in calls if call[0] == "run.py"], grid)
    if given.list:
        for number, (flags, _) in enumerate(runs, 1):
            print(f"{number:3}  python run.py {shlex.join(flags)}")
        return 0
    if given.only is not None:
        if not 1 <= given.only <= len(runs):
            raise UserError(f"--only {given.only}: takes 1 to {len(runs)}; --list shows the runs")
        os.execv(sys.executable, [*RUN, *runs[given.only - 1][0]])
    ray = start_ray()
    with StopRequest("experiments/sweep.sh: stopping all runs") as stop_request:
        done = work(runs, ray, given.runs_per_gpu, stop_request)
    ray.shutdown()
    print(f"{done} of {len(runs)} runs done", flush=True)
    if stop_request.signal:
        raise Stopped(stop_request.signal, "stopped; the same command resumes the sweep")
    tables = [subprocess.run([sys.executable, *call]).returncode for call in calls if call[0] != "run.py"]
    return 1 if any(tables) or done < len(runs) else 0


if __name__ == "__main__":
    sys.exit(run_main("experiments/sweep.sh", main))
