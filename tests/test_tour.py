"""The notebook docs/tour.ipynb runs from its first cell to its last."""

import json
import subprocess
import sys

from conftest import ROOT


def test_the_cells_of_the_notebook_run_in_order(tmp_path, environment):
    """In a process of their own, with figures that nobody sees and the results elsewhere."""
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    code = code.replace("outputs/tour", str(tmp_path))
    code = code.replace("repeat=1", "repeat=1, schedule=[1, 2], power_iters=10")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "docs", env=environment | {"MPLBACKEND": "agg"},
        capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "% of" in done.stdout and "AlwaysBeDreaming" in done.stdout
