"""``--engine ray``: the runs of a sweep as tasks of a Ray cluster, which finds them devices and starts those of a lost node elsewhere.

The working tree, the Python of .venv and the runs' folders lie on a file system that all nodes share: a run that is started
elsewhere resumes from its checkpoint there.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from utils import locks, threads
from utils.errors import UserError
from utils.sweeps import processes
from utils.sweeps.engines import MOMENT, Ended, Run
from utils.training.checkpoint import LOCK

LOSSES = 10  # of its node, before a run counts as failed


def require_ray() -> Any:
    """The package. Raises UserError where it is missing."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # says nothing to anyone
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--engine ray: {error}; sh install_requirements.sh ray installs it, or leave the flag out") from error
    return ray


class RayEngine:
    """Tasks of a Ray cluster, each with its part of a GPU or, where there are none, with as many CPUs as it has threads.

    Args:
        runs_per_gpu: at a time.
        address: of the cluster; None starts Ray on this machine, until ``close``.

    Raises UserError where the package is missing or there is no such cluster.
    """

    def __init__(self, runs_per_gpu: int, address: str | None):
        self.ray = ray = require_ray()
        host, _, port = (address or "").rpartition(":")
        try:
            if port.isdecimal() and "/" not in host:  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(address or "local", log_to_driver=False, logging_level="warning")
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise UserError(f"--address {address}: Ray cannot be joined there ({' '.join(str(error).split())}); see docs/sweeps.md") from error
        self.runs_per_gpu = runs_per_gpu
        self.share = 1 / runs_per_gpu if ray.cluster_resources().get("GPU") else 0
        for module in (processes, locks, threads):
            ray.cloudpickle.register_pickle_by_value(module)  # nodes import nothing of this repository, nor another `utils`
        self.tasks: dict[Any, Run] = {}
        self.stopped: list[Ended] = []

    def free(self) -> bool:
        return True  # Ray has them wait

    def start(self, run: Run) -> None:
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        most = int(max(node.get("CPU", 0) for node in nodes))
        side_by_side = self.runs_per_gpu * max(1, int(max(node.get("GPU", 0) for node in nodes))) * run.processes
        each = run.threads or threads.threads_asked_for() or max(1, most // side_by_side)
        part = {"num_gpus": self.share, "num_cpus": 0} if self.share else {"num_cpus": max(1, min(each * run.processes, most))}
        task = self.ray.remote(max_retries=LOSSES, **part)(processes.run_when_unlocked)
        command = run.command("--gpuid", "0" if self.share else "-1")
        paths = run.console.absolute(), run.folder.absolute() / LOCK, Path.cwd()
        self.tasks[task.options(name=run.name).remote(command, *paths, each)] = run

    def ended(self) -> list[Ended]:
        stopped, self.stopped = self.stopped, []
        ready = self.ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=MOMENT)[0] if self.tasks else []
        return stopped + [self.how(task, self.tasks.pop(task)) for task in ready]

    def how(self, task: Any, run: Run) -> Ended:
        try:
            return Ended(run, self.ray.get(task))
        except self.ray.exceptions.RayError as error:
            return Ended(run, 1, f"Ray: {str(error).strip().splitlines()[-1]}")

    def stop(self) -> None:
        self.stopped = [Ended(run, -signal.SIGKILL) for run in self.tasks.values()]
        self.tasks.clear()
        self.close()

    def close(self) -> None:
        self.ray.shutdown()
