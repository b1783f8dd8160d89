"""Run many runs at once on Ray: on the GPUs or cores of this machine, or of a cluster (docs/sweeps.md).

    sh experiments/sweep.sh experiments/cifar100-fivetask.sh --runs_per_gpu 4

Each repeat becomes a run of its own. The same command resumes a sweep, whatever ended it. Exit status: 0 all
finished; 1 some failed; 2 refused before any work; 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import ctypes
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from utils.device import choose_device, default_threads
from utils.errors import Parser, StopRequest, UserError, run_main
from utils.files import user_path
from utils.sweep_plan import Run, planned

ROOT = Path(__file__).resolve().parents[1]


def attempt(command: list[str], log_dir: str, folder: Path, threads: int) -> int:
    """Run a command on the node that Ray chose, and return its exit status; ray.cancel sends it SIGTERM.
    Imports nothing of this repository, which a node might not find."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0
    os.makedirs(folder / log_dir, exist_ok=True)
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": str(threads)}
    with open(folder / log_dir / "console.log", "ab") as console:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, cwd=folder,
            env=environment, start_new_session=True,
            preexec_fn=lambda: prctl(1, signal.SIGKILL))  # PR_SET_PDEATHSIG: the run dies with Ray
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
        cpus, gpu = (0, 1 / runs_per_gpu) if gpus else (max(1, cpus // places), 0)
        # Ray's own retries are for lost nodes.
        self.task = ray.remote(max_retries=10, num_cpus=cpus, num_gpus=gpu)(attempt)
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
            # Ray does not tell when a task that it cancelled has ended; a run's last line does.
            end, last = time.monotonic() + 60, ("run.py: stopped", "final accuracy")
            while time.monotonic() < end and not all(
                    run.last_line().startswith(last) or not run.last_line() for run in self.started.values()):
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
        # A refused run, with status 2, would be refused again; a GPU that was full may have room by then.
        again = status != 2 and run.attempts == 1
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
            # Cut at its beginning: the time left is at its end.
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
        numbers = gpuid or range(torch.cuda.device_count())
        gpus = [number for number in numbers if choose_device([number]).type == "cuda"]
        if gpuid and gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpuid))
        here = {"num_cpus": runs_per_gpu, "num_gpus": len(gpus), "object_store_memory": 100 * 2**20}
    try:
        import ray

        if address:  # Ray itself would try for two minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
    except Exception as error:
        what = f"--address {address}: no Ray cluster can be joined" if address else "Ray cannot be started"
        reason = " ".join(str(error).split())
        raise UserError(f"{what} ({reason}); sh install_requirements.sh dev installs it") from error
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return ray


def main(arguments: list[str] | None = None) -> int:
    parser = Parser("experiments/sweep.sh", description="Run what scripts run, at once.", allow_abbrev=False)
    add = parser.add_argument
    add("scripts", nargs="+", type=user_path, metavar="SCRIPT", help="for example experiments/demo.sh")
    add("--runs_per_gpu", type=int, default=1, choices=range(1, 99), metavar="N",
        help="runs at a time on each GPU, or on the CPU if there is none; default: 1")
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
    with StopRequest() as stop_request:
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
