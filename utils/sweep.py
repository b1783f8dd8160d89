"""Run many runs at once on Ray: on the GPUs or cores of this machine, or of a cluster (docs/sweeps.md).

    sh experiments/sweep.sh experiments/cifar100-fivetask.sh --runs_per_gpu 4

The runs are those that the script would start one after the other, except that each repeat is a run of its own.
The same command resumes a sweep, whatever ended it. Exit status: 0 all finished; 1 some failed, the others
finished; 2 refused before any work; 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import ctypes
import dataclasses
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from learners import REGISTRY
from utils.command_line import parse
from utils.errors import Parser, UserError, run_main
from utils.files import user_path
from utils.settings import Settings
from utils.threads import default_threads
from utils.training.device import usable_gpus
from utils.training.stop import StopRequest

ROOT = Path(__file__).resolve().parents[1]

# Stands in for Python: writes down the number of its arguments and the arguments.
RECORDER = '#!/bin/sh\nprintf "%s\\0" "$#" "$@" >> "$SWEEP_CALLS"\n'


@dataclasses.dataclass(eq=False)
class Run:
    """One run of run.py, named by its --log_dir.

    Attributes:
        after: the run whose first task this one takes over.
        state: waiting, started, done or failed.
        begun: size of the console file in bytes when the latest attempt began.
    """

    name: str
    arguments: list[str]
    settings: Settings
    after: "Run | None" = None
    state: str = "waiting"
    attempts: int = 0
    begun: int = 0

    def printed(self) -> bytes:
        """Return all that the run has printed, in every attempt."""
        console = Path(self.name, "console.log")
        return console.read_bytes() if console.exists() else b""

    def last_line(self) -> str:
        """Return the last line of the latest attempt, or "" if it has printed nothing yet."""
        return self.printed()[self.begun :].decode(errors="replace").rstrip().rpartition("\n")[2]

    def stopping(self) -> bool:
        return not self.last_line().startswith(("run.py: stopped", "final")) and self.last_line() != ""


def recorded_calls(script: Path) -> list[list[str]]:
    """Run a script with a recorder as $PYTHON and return the arguments of its calls. Raises UserError."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "calls")
        record.touch()
        for name in ("recorder", "python", "python3"):
            Path(folder, name).write_text(RECORDER, encoding="utf-8")
            Path(folder, name).chmod(0o755)
        # Found by name on PATH: a script may write $PYTHON without quotes, and the folder may contain spaces.
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PYTHON": "recorder", "PATH": path, "SWEEP_CALLS": str(record)}
        done = subprocess.run(["sh", script], env=environment, stdin=subprocess.DEVNULL, capture_output=True)
        words = iter(os.fsdecode(record.read_bytes()).split("\0")[:-1])
    if done.returncode:
        message = done.stderr.decode(errors="replace").rstrip().rpartition("\n")[2]
        raise UserError(f"{script}: ends with status {done.returncode}: {message}")
    return [[next(words) for _ in range(int(count))] for count in words]


def planned(scripts: list[Path]) -> tuple[list[Run], list[list[str]]]:
    """Return the scripts' runs, those that take over a first task last, and their other calls of Python.
    Raises UserError if a script fails, starts no run or has a wrong flag."""
    runs: dict[Path, Run] = {}
    other_calls: list[list[str]] = []
    for script in scripts:
        calls = recorded_calls(script)
        if ["run.py"] not in [call[:1] for call in calls]:
            raise UserError(f'{script}: starts no run; a script starts runs with "$PYTHON" run.py')
        for call in calls:
            if call[0] == "run.py":
                add_runs(call[1:], runs)
            elif call not in other_calls:
                other_calls.append(call)
    return sorted(runs.values(), key=lambda run: run.after is not None), other_calls


def add_runs(arguments: list[str], runs: dict[Path, Run]) -> None:
    """Add the runs of a call of run.py, one per seed, to those of the calls before it. Raises UserError."""
    settings = dataclasses.replace(parse(REGISTRY, arguments), gpuid=[0])
    folder, source = settings.log_dir, settings.load_model_dir
    if settings.overwrite:
        raise UserError(f"--log_dir {folder}: --overwrite 1 would delete what is to be resumed; use --overwrite 0")
    seeds = range(settings.seed, settings.seed + settings.repeat)
    sources = {seed: f"{source}/seed-{seed}" for seed in seeds if source}
    split_source = all(Path(path).resolve() in runs or os.path.isdir(path) for path in sources.values())
    # A run begun with all repeats in one folder continues there; so does one that takes first tasks from it.
    split = settings.repeat > 1 and split_source and not Path(folder, "args.yaml").exists()
    one = settings.repeat == 1
    for seed in seeds if split else seeds[:1]:
        own = {"seed": seed, "repeat": 1, "log_dir": f"{folder}/seed-{seed}"}
        changes: dict[str, Any] = own if split else {}
        if source and split_source and (split or one):
            changes["load_model_dir"] = sources[seed]
        flags = [str(word) for name, value in changes.items() for word in (f"--{name}", value)]
        settings = dataclasses.replace(settings, **changes)
        run = Run(settings.log_dir, [*arguments, *flags], settings)
        run.after = runs.get(Path(settings.load_model_dir).resolve()) if source else None
        if runs.setdefault(Path(run.name).resolve(), run).settings != settings:
            raise UserError(f"--log_dir {run.name}: another run of this sweep has it, with other settings")


def attempt(command: list[str], log_dir: str, folder: Path, threads: int) -> int:
    """Run a command on the node that Ray chose, and return its exit status; ray.cancel sends it SIGTERM.
    Imports nothing of this repository, which a node might not find."""

    def die_with_worker() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    os.makedirs(folder / log_dir, exist_ok=True)
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": str(threads)}
    with open(folder / log_dir / "console.log", "ab") as console:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, cwd=folder,
            env=environment, start_new_session=True, preexec_fn=die_with_worker)
    try:
        while process.poll() is None:
            time.sleep(0.1)  # not wait(), which ray.cancel does not interrupt
    except KeyboardInterrupt:
        process.terminate()
    return process.wait()


class Sweep:
    """Runs as tasks of Ray, which has been started. ``local``: on this machine alone."""

    def __init__(self, runs: list[Run], ray: Any, runs_per_gpu: int, local: bool):
        self.runs, self.ray = runs, ray
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus, gpus = (int(max(node.get(name, 0) for node in nodes)) for name in ("CPU", "GPU"))
        places = runs_per_gpu * max(1, gpus)
        self.threads = default_threads(min(places, len(runs))) if local else max(1, cpus // places)
        self.gpuid = "0" if gpus else "-1"
        share = (0, 1 / runs_per_gpu) if gpus else (max(1, cpus // places), 0)
        # Ray's own retries are for lost nodes.
        self.task = ray.remote(max_retries=10, num_cpus=share[0], num_gpus=share[1])(attempt)
        self.started: dict[Any, Run] = {}
        self.drawn = 0  # lines on the screen that the next ones replace

    def work(self, stop_request: StopRequest) -> None:
        """Run everything. After a signal, stop the runs under way and return."""
        while not stop_request.signal and any(run.state in ("waiting", "started") for run in self.runs):
            for run in (run for run in self.runs if run.state == "waiting"):
                if not run.after or run.after.state == "done":
                    self.start(run)
                elif run.after.state == "failed":
                    self.settle(run, "failed", f"takes over the first task of {run.after.name}")
            for task in self.ray.wait(list(self.started), timeout=0.5)[0] if self.started else []:
                self.end(task, self.started.pop(task))
            self.show()
        if stop_request.signal:
            for task in self.started:
                self.ray.cancel(task)
            end = time.monotonic() + 60  # Ray does not tell when a task that it cancelled has ended; run.py does
            while time.monotonic() < end and any(run.stopping() for run in self.started.values()):
                time.sleep(0.1)

    def start(self, run: Run) -> None:
        run.state, run.attempts, run.begun = "started", run.attempts + 1, len(run.printed())
        command = [sys.executable, str(ROOT / "run.py"), *run.arguments, "--gpuid", self.gpuid]
        self.started[self.task.remote(command, run.name, Path.cwd(), self.threads)] = run

    def end(self, task: Any, run: Run) -> None:
        try:
            status = self.ray.get(task)
            message = run.last_line().removeprefix("run.py: ") or f"exit status {status}"
        except Exception as error:  # Ray's, or one of the folder
            status, message = 1, str(error).rstrip().rpartition("\n")[2]
        again = status != 2 and run.attempts == 1  # 2: refused, and would be again; a full GPU may be free by then
        self.settle(run, "done" if status == 0 else "waiting" if again else "failed", message)

    def settle(self, run: Run, state: str, message: str) -> None:
        """Note what has become of a run, and print a line that stays."""
        run.state = state
        self.draw([])
        words = "failed, will be tried once more" if state == "waiting" else state
        print(f"{run.name}  {words}: {message}", flush=True)

    def show(self) -> None:
        """If stderr is a terminal, show a line for each run under way and one for all."""
        if sys.stderr.isatty():
            width, height = shutil.get_terminal_size()
            texts = {run.name: run.last_line() for run in self.started.values()}
            # The end of a long line has the time left.
            lines = [f"{name}  {text[len(name) + 3 - width :]}" for name, text in texts.items() if text]
            self.draw([line[: width - 1] for line in [*lines, self.summary()][-height + 1 :]])

    def draw(self, lines: list[str]) -> None:
        """Replace the lines that the latest call has drawn."""
        if self.drawn:
            print(f"\x1b[{self.drawn}A\x1b[J", end="", file=sys.stderr)
        print("".join(f"{line}\n" for line in lines), end="", file=sys.stderr, flush=True)
        self.drawn = len(lines)

    def summary(self) -> str:
        states = [run.state for run in self.runs]
        return f"{states.count('done')} of {len(states)} runs done, {states.count('failed')} failed"


def start_ray(gpuid: list[int] | None, runs_per_gpu: int, address: str | None) -> Any:
    """Join a cluster, or start Ray on this machine. Return the module. Raises UserError."""
    # Send nothing to Ray's makers, run at normal priority, and print no warning about CUDA_VISIBLE_DEVICES.
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        os.environ.setdefault(name, "0")
    here: dict[str, Any] = {}
    if not address:
        counts = [usable_gpus(number) for number in gpuid or [0]]
        if gpuid and all(counts):
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpuid))
        gpus = len(gpuid or range(counts[0])) if all(counts) else 0
        here = {"num_cpus": runs_per_gpu, "num_gpus": gpus, "object_store_memory": 100 * 2**20}
    try:
        import ray

        if address:  # Ray itself would try for two minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address or "local", log_to_driver=False, logging_level="error", **here)
    except Exception as error:
        what = f"--address {address}: no Ray cluster can be joined" if address else "Ray cannot be started"
        reason = " ".join(str(error).split())
        raise UserError(f"{what} ({reason}); sh install_requirements.sh dev installs it") from error
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return ray


def main(arguments: list[str] | None = None) -> int:
    parser = Parser("experiments/sweep.sh", description="Run the runs of scripts side by side.", allow_abbrev=False)
    add = parser.add_argument
    add("scripts", nargs="+", type=user_path, metavar="SCRIPT", help="such as experiments/cifar100-fivetask.sh")
    add("--runs_per_gpu", type=int, default=1, metavar="N", help="runs at a time on each GPU; default: 1",
        choices=range(1, 101))
    add("--gpuid", type=int, nargs="+", metavar="N", help="GPUs to use; default: all; -1: the CPU")
    add("--address", metavar="HOST:PORT", help="a running Ray cluster; default: this machine alone")
    add("--list", action="store_true", help="print the runs, numbered, and do nothing else")
    add("--only", type=int, metavar="K", help="run the K-th of the list alone, as its script would")
    given = parser.parse_args(arguments)
    os.environ.pop("STARTED_IN", None)  # paths in the scripts are relative to the repository
    runs, other_calls = planned(given.scripts)
    if given.list:
        for number, run in enumerate(runs, 1):
            print(f"{number:3}  python run.py {shlex.join(run.arguments)}")
        return 0
    if given.only is not None:
        if not 1 <= given.only <= len(runs):
            raise UserError(f"--only {given.only}: takes 1 to {len(runs)}; --list shows the runs")
        os.execv(sys.executable, [sys.executable, str(ROOT / "run.py"), *runs[given.only - 1].arguments])
    ray = start_ray(given.gpuid, given.runs_per_gpu, given.address)
    sweep = Sweep(runs, ray, given.runs_per_gpu, local=not given.address)
    with StopRequest("experiments/sweep.sh") as stop_request:
        sweep.work(stop_request)
    ray.shutdown()
    sweep.draw([])
    print(sweep.summary(), flush=True)
    if stop_request.signal:
        print("experiments/sweep.sh: stopped; the same command resumes the sweep", file=sys.stderr)
        return 128 + stop_request.signal
    tables = [subprocess.run([sys.executable, *call]).returncode for call in other_calls]
    return 1 if any(tables) or any(run.state == "failed" for run in runs) else 0


if __name__ == "__main__":
    sys.exit(run_main("experiments/sweep.sh", main))
