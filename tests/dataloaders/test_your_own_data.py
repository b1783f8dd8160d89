"""docs/your-own-data.md, done as it says."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest
from conftest import write_pictures


@pytest.fixture
def page(root):
    """The code of the page by language: {"python": [...], "sh": [...]}."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", (root / "docs" / "your-own-data.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    return {language: [code for other, code in blocks if other == language] for language, _ in blocks}


@pytest.fixture
def copy(root, tmp_path):
    """A copy of the code with the page's folder of images, six classes with 40 for training and 10 for testing."""
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".*", "datasets", "outputs", "tests", "docs"))
    for part, count in (("train", 40), ("test", 10)):
        for label, name in enumerate(("aster", "daisy", "iris", "lily", "rose", "tulip")):
            write_pictures(copy / "datasets" / "flowers" / part / name, [f"{k}.jpg" for k in range(count)], 48, label)
    return copy


def test_the_page_leads_from_a_folder_of_images_to_a_run(page, copy, environment):
    def do(command, *more):
        words = [sys.executable if word == ".venv/bin/python" else word for word in shlex.split(command.replace("\\\n", ""))]
        done = subprocess.run([*words, *more], cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    (code,), (ask, run) = page["python"], page["sh"]
    count, numbers = do(ask)
    assert count == "240 training and 60 test images"
    code, replaced = re.subn(r'(?<="Flowers", ).*(?=\)\n)', numbers, code)
    assert replaced == 1
    (copy / "dataloaders" / "sets" / "flowers.py").write_text(code, encoding="utf-8")
    lines = do(run, "--schedule", "1", "--power_iters", "2", "--gpuid", "-1")
    assert lines[-1].startswith("final accuracy: ")
    assert any("task 3/3  dream" in line for line in lines)
    assert (copy / "outputs" / "flowers" / "results-acc" / "global.yaml").exists()


def test_the_pages_numbers_have_the_form_of_the_commands(page):
    registered, = re.findall(r'@dataset\("Flowers", (.*)\)', page["python"][0])
    assert re.fullmatch(r"classes=\d, image_size=\d+, mean=\((0\.\d{4}(, )?){3}\), std=\((0\.\d{4}(, )?){3}\)", registered)
