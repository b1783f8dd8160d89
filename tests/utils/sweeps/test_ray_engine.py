"""Runs as tasks of a Ray cluster; skipped where the optional package is missing."""

import importlib.util
import signal
import sys
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.sweeps import sweep
from utils.sweeps.engines import Run
from utils.sweeps.ray_engine import RayEngine, require_ray
from utils.sweeps.scheduler import run_all
from utils.training.stop import Stopped, StopRequest

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed; sh install_requirements.sh ray")


def test_without_the_package_one_line_names_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    script = tmp_path / "script.sh"
    script.write_text("$PYTHON run.py --log_dir a")
    assert sweep.main([str(script), "--engine", "ray"]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("experiments/sweep.sh: --engine ray: ") and "sh install_requirements.sh ray" in line


@pytest.fixture(scope="module")
def cluster(environment):
    """Two nodes of one CPU each on this machine, and a head without any."""
    require_ray()
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100 * 2**20}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**environment, "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}.items():
            patched.setenv(name, value)
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "wait": False, **memory})
        for _ in range(2):
            started.add_node(wait=False, num_cpus=1, **memory)
        started.wait_for_nodes(timeout=300)
        yield started
        started.shutdown()


def until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("in vain for two minutes")


def holder(run):
    """The process that has the run's folder."""
    return int((run.folder / "run.lock").read_text().split()[1])


@needs_ray
def test_a_sweep_that_stops_takes_its_runs_along(cluster, tiny, tmp_path):
    run, stop_request = Run("run", tiny("NormalNN", "--schedule", "1000", "--log_dir", tmp_path), tmp_path), StopRequest()

    class Stopping(RayEngine):
        def ended(self):
            if "epoch 1/" in "\n".join(run.last_lines()):
                stop_request.signal = signal.SIGTERM
            return super().ended()

    with pytest.raises(Stopped):
        run_all([run], Stopping(1, cluster.address), stop_request)
    pid = holder(run)
    until(lambda: not Path(f"/proc/{pid}").exists())


@needs_ray
@pytest.mark.slow
def test_runs_of_a_lost_node_end_elsewhere_with_the_same_results(cluster, tiny, lasting, finished, tmp_path, capfd):
    """Both runs are under way, one on each node, when a node is lost."""
    flags = ("--max_task", "5")
    runs = [Run(name, tiny("NormalNN", *flags, "--log_dir", tmp_path / name), tmp_path / name) for name in ("one", "two")]
    lost, first = [], {}

    class Losing(RayEngine):
        def ended(self):
            if not lost and all("task 2/5  learn  epoch 1/2" in "\n".join(run.last_lines()) for run in runs):
                first.update({run.name: holder(run) for run in runs})
                lost.append(cluster.worker_nodes.copy().pop())
                cluster.remove_node(lost[0], allow_graceful=False)
            return super().ended()

    assert run_all(runs, Losing(1, cluster.address), StopRequest()) == []
    assert lost
    moved = [run for run in runs if holder(run) != first[run.name]]
    assert len(moved) == 1
    assert "resuming: repeat 1/1, task" in moved[0].console.read_text()
    for run in runs:
        assert lasting(run.folder) == lasting(finished("NormalNN", *flags))
    out, _ = capfd.readouterr()
    assert "one  done  final accuracy" in out and "two  done  final accuracy" in out and "is tried once more" not in out


@needs_ray
def test_no_cluster_is_one_line():
    with pytest.raises(UserError, match="--address 127.0.0.1:1: Ray cannot be joined there .*Connection refused"):
        RayEngine(1, "127.0.0.1:1")
