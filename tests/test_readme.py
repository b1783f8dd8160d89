"""What README.md and docs/ promise: links and names lead somewhere, numbers are the published ones, the
example runs."""

import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from utils.reports.paper import STUDIES

DOCS = [ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES = [ROOT / "README.md", ROOT / "RESULTS.md", *DOCS]


def text(page):
    return page.read_text(encoding="utf-8")


def rows(page):
    """The cells of all rows of a page's tables."""
    return [line.strip("|").split("|") for line in text(page).splitlines() if line.startswith("|")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_heading_and_every_name_is_in_the_file_it_is_said_to_be_in(page):
    for path, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text(page)):
        if "://" not in path:
            target = page.parent / path if path else page
            assert target.exists(), path
            headings = re.findall(r"^#+ (.*)", text(target), re.MULTILINE) if heading else []
            assert heading in ["", *(title.lower().replace(" ", "-") for title in headings)], heading
    for name, path in re.findall(r"`(\w+)` in (?:\[[^]]*\]\(|`)([\w./-]+\.py)", text(page)):
        assert name in text(ROOT / path if (ROOT / path).exists() else page.parent / path), (name, path)


def test_every_command_names_files_that_exist():
    command = r"(?:sh|python|--config) ((?:experiments|tests|configs)/[\w./-]+|run\.py)"
    commands = [path for page in PAGES for path in re.findall(command, text(page))]
    assert len(commands) > 20
    assert [path for path in commands if not (ROOT / path).exists() and "M.yaml" not in path] == []


def test_the_paper_s_numbers_are_those_of_the_tables():
    shown = [[cell.strip() for cell in row if "±" in cell] for row in rows(ROOT / "README.md")]
    for numbers in STUDIES[0].rows.values():
        assert [number.text for number in numbers.values()] in shown


def test_every_golden_number_is_in_the_table_of_what_is_verified():
    page = ROOT / "docs" / "choosing.md"
    column = next(row for row in rows(page) if "golden numbers" in row[5])
    shared = text(page).partition("All methods share")[2].partition(". ")[0]
    named = re.findall(r"`([a-z0-9_]+)`", " ".join(row[5] for row in rows(page) if row != column) + shared)
    assert {path.stem for path in ROOT.glob("tests/golden/*.json")} <= set(named)
    assert set(named) <= {path.stem for path in ROOT.glob("tests/golden*/*.json")}


def test_pages_are_short_enough_to_read():
    lines = {page: len(text(page).splitlines()) for page in PAGES}
    assert max(lines[ROOT / "README.md"], lines[ROOT / "RESULTS.md"]) <= 150
    assert sum(lines[page] for page in DOCS) <= 700


def test_the_example_is_a_learner_that_runs(tiny, environment, tmp_path):
    """In a copy of the code with nothing else touched."""
    example, = re.findall(r"```python\n(.*?)```", text(ROOT / "README.md"), flags=re.DOTALL)
    copy = tmp_path / "copy"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "datasets", "outputs", "tests"))
    (copy / "learners" / "abd_logits.py").write_text(example, encoding="utf-8")
    flags = tiny("AlwaysBeDreaming", "--schedule", 1, "--log_dir", tmp_path / "run")
    command = [sys.executable, "run.py", *flags, "--learner_name", "ABDLogits"]

    def run(*more):
        return subprocess.run(
            [*command, *more], cwd=copy, env=environment, capture_output=True, text=True, timeout=300)

    done = run("--logits_mu", "0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("final accuracy: ")
    assert any("logits " in line for line in done.stdout.splitlines())
    assert yaml.safe_load(text(tmp_path / "run" / "args.yaml"))["logits_mu"] == 0.5
    refused = run("--logits_mu", "1")
    assert refused.returncode == 2 and "logits_mu 0.5 there, 1.0 here" in refused.stderr
