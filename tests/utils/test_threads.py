import os
import subprocess
import sys

import pytest

from utils import threads
from utils.threads import MOST, SPIN, available_cores, choose_waiting, cpu_quotas, default_threads, physical_cores

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture
def write(tmp_path):
    """Writes files under a folder: write({path: text}) -> folder."""

    def files(texts):
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{text}\n")
        return tmp_path

    return files


def quotas(write, groups, files):
    root = write({"self": groups, **{f"mount/{name}": text for name, text in files.items()}})
    return sorted(cpu_quotas(root / "self", root / "mount"))


def test_two_threads_of_a_core_are_one_core(write):
    system = write({f"cpu{cpu}/topology/thread_siblings_list": f"{cpu % 4},{cpu % 4 + 4}" for cpu in range(8)})
    assert physical_cores(set(range(8)), system) == 4
    assert physical_cores({0, 4}, system) == 1
    assert physical_cores({1, 2, 6}, system) == 2


def test_each_cpu_counts_where_the_system_does_not_tell(tmp_path):
    assert physical_cores({0, 1, 5}, tmp_path) == 3


@pytest.mark.parametrize(("groups", "files", "found"), [
    ("0::/", {"cpu.max": "150000 100000"}, [1.5]),
    ("0::/", {"cpu.max": "max 100000"}, []),
    ("0::/a/b", {"cpu.max": "max 100000", "a/cpu.max": "400000 100000", "a/b/cpu.max": "800000 100000"}, [4, 8]),
    ("0::/docker/of-the-host", {"cpu.max": "200000 100000"}, [2]),
    ("4:memory:/x\n3:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}, [3]),
    ("3:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, []),
    ("3:cpu:/host/path", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, [0.5]),
    ("3:cpuset:/a", {"cpuset/a/cpu.max": "100000 100000"}, []),
    ("nonsense", {}, []),
    ("0::/", {"cpu.max": "nonsense"}, []),
])
def test_quotas_of_control_groups(write, groups, files, found):
    assert quotas(write, groups, files) == found


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert not list(cpu_quotas(tmp_path / "none", tmp_path))


@pytest.mark.parametrize(("quota", "cores"), [([], 8), ([2.5], 2), ([0.4], 1), ([16.0, 3.0], 3), ([64.0], 8)])
def test_the_smaller_of_cores_and_quota_counts(monkeypatch, quota, cores):
    monkeypatch.setattr(threads, "physical_cores", lambda cpus: 8)
    monkeypatch.setattr(threads, "cpu_quotas", lambda: iter(quota))
    assert available_cores() == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_counts():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nfrom utils.threads import available_cores; print(available_cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.parametrize(("given", "processes", "found"), [
    (None, 1, 12), (None, 5, 2), (None, 100, 1), ("3", 1, 3), ("3", 4, 3), ("4,2", 1, 4), ("0", 1, 12), ("many", 1, 12), ("9999", 1, MOST)])
def test_processes_share_the_cores_unless_the_environment_says_how_many(monkeypatch, given, processes, found):
    monkeypatch.setattr(threads, "available_cores", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert default_threads(processes) == found


@pytest.mark.parametrize(("load", "asked", "spin"), [
    ("0.00 0.00 0.00 1/85 12313", "", SPIN),
    ("9.00 9.00 9.00 1/85 12313", "", SPIN),  # what has ended counts no more
    ("0.00 0.00 0.00 2/85 12313", "", 0),
    ("0.00 0.00 0.00 3/85 12313", "2", SPIN),
    ("0.00 0.00 0.00 4/85 12313", "2", 0),
    ("nonsense", "", 0),
    (None, "1", 0),
])
def test_threads_spin_only_where_every_one_has_a_cpu(monkeypatch, tmp_path, load, asked, spin):
    for name in WAITING:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    if load:
        (tmp_path / "loadavg").write_text(f"{load}\n")
    choose_waiting(tmp_path / "loadavg")
    assert [os.environ.get(name) for name in WAITING] == [None, str(spin), "0"]


@pytest.mark.parametrize("name", WAITING)
def test_a_users_own_way_of_waiting_wins(monkeypatch, name):
    for other in WAITING:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "active" if name == "OMP_WAIT_POLICY" else "7")
    choose_waiting()
    assert [other for other in WAITING if other in os.environ] == [name]


@pytest.mark.parametrize("module", ["run", "utils.benchmark.__main__", "utils.sweeps.sweep", "utils.reports.diagnose"])
def test_every_entry_point_says_so_before_torch_loads(root, module):
    """Where torch would load before it, the setting would come too late. What would load first ends the process."""
    code = (
        "import importlib, os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'numpy', 'sklearn'):\n"
        f"            os._exit(7 if os.environ.get('GOMP_SPINCOUNT') in ('0', '{SPIN}') else 1)\n"
        f"sys.meta_path.insert(0, Watch()); importlib.import_module({module!r})")
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
