"""Does what docs/your-own-data.md says."""

import re
import shlex
import shutil
import subprocess
import sys

from conftest import write_pictures


def test_the_page_leads_from_a_folder_of_images_to_a_run_and_to_a_named_data_set(root, tmp_path, environment):
    page = (root / "docs" / "your-own-data.md").read_text(encoding="utf-8")
    run, code = re.findall(r"```(?:python|sh)\n(.*?)```", page, re.DOTALL)
    copy = tmp_path / "a copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".*", "datasets", "outputs", "tests", "docs"))
    for part, count in (("train", 40), ("test", 10)):
        for label, name in enumerate(("aster", "daisy", "iris", "lily", "rose", "tulip")):
            write_pictures(copy / "flowers" / part / name, [f"{k}.jpg" for k in range(count)], 48, label)
    (copy / "dataloaders" / "sets" / "flowers.py").write_text(code, encoding="utf-8")
    words = shlex.split(run.replace("\\\n", "").replace(".venv/bin/python", shlex.quote(sys.executable)))
    short = ["--schedule", "1", "--power_iters", "2", "--gpuid", "-1", "--no_figures"]
    named = ["--dataset", "Flowers", "--dataroot", ".", "--image_size", "0", "--log_dir", "outputs/named"]
    for more in ([], named):
        done = subprocess.run(
            [*words, *short, *more], cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("final accuracy: ")
    assert (copy / "outputs" / "named" / "results-acc" / "global.yaml").exists()
