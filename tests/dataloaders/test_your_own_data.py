"""Does what docs/your-own-data.md says."""

import re
import shlex
import shutil
import subprocess
import sys

from conftest import write_pictures


def test_the_page_leads_from_a_folder_of_images_to_a_run(root, tmp_path, environment):
    page = (root / "docs" / "your-own-data.md").read_text(encoding="utf-8")
    ask, code, run = re.findall(r"```(?:python|sh)\n(.*?)```", page, re.DOTALL)
    numbers = r"classes=\d, image_size=\d+, mean=\((?:0\.\d{4}(?:, )?){3}\), std=\(.*\)"
    copy = tmp_path / "a copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".*", "datasets", "outputs", "tests", "docs"))
    for part, count in (("train", 40), ("test", 10)):
        for label, name in enumerate(("aster", "daisy", "iris", "lily", "rose", "tulip")):
            folder = copy / "datasets" / "flowers" / part / name
            write_pictures(folder, [f"{k}.jpg" for k in range(count)], 48, label)

    def do(command, *more):
        command = command.replace("\\\n", "")
        command = command.replace(".venv/bin/python", shlex.quote(sys.executable))
        words = [*shlex.split(command), *more]
        done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    count, facts = do(ask)
    assert count == "240 training and 60 test images"
    assert re.fullmatch(numbers, facts)
    code, replaced = re.subn(numbers + r"(?=\)\n)", facts, code)
    assert replaced == 1
    (copy / "dataloaders" / "sets" / "flowers.py").write_text(code, encoding="utf-8")
    lines = do(run, "--schedule", "1", "--power_iters", "2", "--gpuid", "-1", "--no_figures")
    assert lines[-1].startswith("final accuracy: ")
    assert (copy / "outputs" / "flowers" / "results-acc" / "global.yaml").exists()
