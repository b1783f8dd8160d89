"""CPU threads: how many a process may use, and how they wait. No torch here: what this sets holds only before torch loads, so
``utils/__init__.py`` calls ``choose_waiting``, and every command begins with it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MOST = 256  # what --threads takes
SPIN = 10_000  # turns of a waiting loop


def choose_waiting(load: Path = Path("/proc/loadavg")) -> None:
    """How OpenMP's threads wait at a barrier. Where the CPUs suffice for this process and all that runs now, they spin for a fraction
    of a millisecond before they sleep; otherwise they sleep at once: a spinning thread would keep the one that it waits for from
    running (docs/performance.md). A user's own setting of any of these wins."""
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        return
    free = (os.cpu_count() or 1) - running_elsewhere(load)
    spin = free > 0 and default_threads() <= free  # cores are counted only where it matters: on macOS that starts a process
    os.environ["GOMP_SPINCOUNT"] = str(SPIN if spin else 0)  # GNU's, which torch's wheels for Linux bring
    os.environ["KMP_BLOCKTIME"] = "0"  # LLVM's and Intel's, in milliseconds


def running_elsewhere(load: Path) -> float:
    """How many threads of other processes run or are ready to, on the whole machine; infinitely many where the system does not tell."""
    try:
        return int(load.read_text().split()[3].partition("/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return math.inf


def threads_asked_for() -> int:
    """OMP_NUM_THREADS, which users, schedulers and Ray set; 0 where it says nothing."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(int(given), MOST) if given.isdecimal() else 0


def default_threads(processes: int = 1) -> int:
    """Of each of so many processes side by side: OMP_NUM_THREADS where it is set, else its share of the cores."""
    return threads_asked_for() or min(max(available_cores() // processes, 1), MOST)


def available_cores() -> int:
    """Physical cores that this process may use, by its affinity and its control groups' quota; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = physical_cores(os.sched_getaffinity(0))
    else:
        cores = _cores_of_macos() or os.cpu_count() or 1
    quota = min(cpu_quotas(), default=float(cores))
    return max(1, min(cores, int(quota)))


def physical_cores(cpus: set[int], system: Path = Path("/sys/devices/system/cpu")) -> int:
    """How many cores these logical CPUs lie on; each counts where the system does not tell."""

    def core(cpu: int) -> str:
        try:
            return (system / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
        except OSError:
            return str(cpu)

    return len({core(cpu) for cpu in cpus})


def _cores_of_macos() -> int:
    if sys.platform != "darwin":
        return 0
    try:
        return int(subprocess.run(["sysctl", "-n", "hw.physicalcpu"], capture_output=True, text=True, timeout=10).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def cpu_quotas(groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """CPUs' worth of time that each control group around this process may take, where it is limited; of version 1 and 2."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = (line.split(":", 2) + ["", ""])[:3]
        if kinds and "cpu" not in kinds.split(","):
            continue
        for root in {mount / kinds, mount / "cpu"} if kinds else {mount, mount / "unified"}:
            group = Path(path.lstrip("/"))
            # In a container the path may be the host's; the group itself is then the root of the mount.
            for place in dict.fromkeys([group, *group.parents]):
                yield from _quota(root / place)


def _quota(group: Path) -> Iterator[float]:
    for read in (
        lambda: (group / "cpu.max").read_text().split(),
        lambda: [(group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")],
    ):
        try:
            quota, period = map(float, read())
            if quota > 0 and period > 0:
                yield quota / period
        except (OSError, ValueError):  # there is none, or it is "max"
            pass
