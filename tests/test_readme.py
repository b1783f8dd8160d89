"""What README.md and docs/ promise: the worked example runs, links lead somewhere, lines are those they name.

    PYTHONPATH=. .venv/bin/python tests/test_readme.py        puts the line numbers right, and docs/settings.md
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from utils.reports.settings_page import settings_page

from learners import REGISTRY

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")) if "://" not in link]
    assert links or page.parent.name == "docs"
    assert [link for link in links if not (page.parent / link).exists()] == []


def renumbered(page):
    """The page with the right line in every ``[file.py:LINE](path/file.py#LLINE) `beginning of the line```."""

    def link(match):
        name, path, code = match.groups()
        lines = (page.parent / path).read_text(encoding="utf-8").splitlines()
        found = [number for number, line in enumerate(lines, 1) if line.strip().startswith(code)]
        assert len(found) == 1, f"{page.name}: {len(found)} lines of {path} begin with {code!r}"
        return f"[{name}:{found[0]}]({path}#L{found[0]}) `{code}`"

    return re.sub(r"\[([\w.]+):\d+\]\(([\w./-]+)#L\d+\) `([^`]+)`", link, page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_line_is_the_one_it_names(page):
    text = page.read_text(encoding="utf-8")
    assert renumbered(page) == text, "PYTHONPATH=. .venv/bin/python tests/test_readme.py puts it right"
    assert text.count(".py#L") == len(re.findall(r"\.py#L\d+\) `[^`]+`", text))  # none without the code that it stands for


def test_the_page_of_settings_is_current():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == f"{settings_page()}\n", "settings have changed: PYTHONPATH=. .venv/bin/python tests/test_readme.py writes the page anew"
    for name, flag in REGISTRY.flags.items():
        line, = (line for line in page.splitlines() if line.startswith(f"| `{name}` | "))
        assert line.endswith(f" | {flag.metadata['help']} |")


def test_every_command_names_files_that_exist():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    commands = re.findall(r"(?:sh|python) ((?:experiments|tests|configs)/[\w./-]+|run\.py)", text)
    assert len(commands) > 5
    assert [path for path in commands if not (ROOT / path).exists()] == []


def test_every_golden_number_is_in_the_table_of_what_is_verified():
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What is verified")[2].partition("\n## ")[0]
    lines = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert {len(line) for line in lines} == {4}
    named = re.findall(r"`([a-z0-9_]+)`", " ".join(line[1] for line in lines) + section.partition("All methods share")[2].partition(". ")[0])
    assert {path.stem for path in (ROOT / "tests" / "golden").glob("*.json")} <= set(named)
    golden = [*(ROOT / "tests").glob("golden*/*.json")]
    assert set(named) <= {path.stem for path in golden}


@pytest.fixture
def copy(tmp_path):
    """This code with the worked example in a file as the README shows it, under 40 lines, beside the others: nothing else is touched."""
    example, = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(example.splitlines()) < 40
    shutil.copytree(ROOT, tmp_path / "copy", ignore=shutil.ignore_patterns(".*", "__pycache__", "datasets", "outputs"))
    (tmp_path / "copy" / "learners" / "sharp_lwf.py").write_text(example, encoding="utf-8")
    return tmp_path / "copy"


def test_the_worked_example_is_a_learner_that_runs(copy, tiny, environment, tmp_path):
    flags = tiny("LWF", "--learner_name", "SharpLWF", "--schedule", 1, "--log_dir", tmp_path / "run")

    def run(*more):
        return subprocess.run(
            [sys.executable, "run.py", *flags, *more], cwd=copy, env=environment, capture_output=True, text=True, timeout=300)

    done = run("--sharp_temp", "0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("final accuracy: ")
    assert any("sharp " in line for line in done.stdout.splitlines())
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text(encoding="utf-8"))["sharp_temp"] == 0.5
    refused = run("--sharp_temp", "1")
    assert refused.returncode == 2 and "sharp_temp 0.5 there, 1.0 here" in refused.stderr
    assert "--sharp_temp X" in run("--help").stdout


def test_what_all_learners_must_hold_is_held_with_the_worked_example_among_them(copy, environment):
    subprocess.run([sys.executable, "tests/test_readme.py"], cwd=copy, env={**environment, "PYTHONPATH": "."}, check=True, timeout=300)
    named = "page_of_settings or publications or order or first_task or of_the_tables or every_learner_has or launches and SharpLWF"
    files = ["test_readme", "learners/test_learners", "learners/test_own_settings", "test_whole_runs", "utils/test_benchmark"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", named, *(f"tests/{file}.py" for file in files)],
        cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout


if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(f"{settings_page()}\n", encoding="utf-8")
    for each in PAGES:
        each.write_text(renumbered(each), encoding="utf-8")
