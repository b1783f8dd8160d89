"""What README.md and docs/ promise: links lead somewhere, flags exist, the worked example trains."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from learners import REGISTRY

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
README = TEXT[ROOT / "README.md"]
FOLDERS = "learners|models|dataloaders|utils|tests|experiments|configs|docs"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def example():
    """The worked example's file name and code."""
    name, code = re.search(r"`learners/(\w+\.py)`[^`]*```python\n(.*?)```", README, flags=re.DOTALL).groups()
    return name, code


@each_page
def test_every_link_and_every_file_that_is_named_exists(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", TEXT[page])
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]+\.(?:py|sh|yaml|md|json))`", TEXT[page])
    named += re.findall(rf"(?:sh|python) ((?:{FOLDERS})/[\w./-]+|run\.py)", TEXT[page])
    missing = [path for path in named if not (ROOT / path).exists()]
    made_by_the_reader = re.findall(rf"(?:Save|Write|Copy)\b[^.]*?`((?:{FOLDERS})/[\w./-]+)`", TEXT[page])
    assert set(missing) <= set(made_by_the_reader)


@each_page
def test_every_block_of_code_parses(page):
    for code in blocks(TEXT[page], "python"):
        compile(code, page.name, "exec")
    for code in blocks(TEXT[page], "yaml"):
        yaml.safe_load(code)
    for code in blocks(TEXT[page], "sh"):
        subprocess.run(["sh", "-n"], input=code, text=True, check=True)


def known_flags():
    """Those of run.py, of the tools and of the worked example."""
    sources = [*ROOT.glob("utils/**/*.py"), *ROOT.glob("dataloaders/*.py"), *ROOT.glob("tests/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    tools = re.findall(r"\(\s*f?\"--([\w-]+)\"[,)]", text)  # add_argument("--csv", ...)
    own = re.findall(r"^    (\w+): \w+ = setting", README, flags=re.MULTILINE)
    of_tables = ("markdown", "csv")  # declared in a loop
    return {*REGISTRY.flags, *tools, *own, *of_tables, "help"}


@each_page
def test_every_flag_that_is_named_exists(page):
    named = set(re.findall(r"`--(\w[\w-]*)", TEXT[page]))
    for line in TEXT[page].replace("\\\n", " ").splitlines():
        if re.match(rf"(\$ )?([\w./]*python |sh )((?:{FOLDERS})/|run\.py)", line):
            named |= set(re.findall(r" --(\w[\w-]*)", line))
    of_docker_and_slurm = {"shm-size", "requeue", "signal", "array"}
    assert named - known_flags() - of_docker_and_slurm == set()


def test_the_worked_example_is_a_learner_that_trains_with_its_flag(tiny, environment, tmp_path):
    """In a copy of this code, with the file added as the README shows it and nothing else touched."""
    (name, code), copy = example(), tmp_path / "copy"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "datasets", "outputs", "tests")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / "learners" / name).write_text(code, encoding="utf-8")
    base, = re.findall(r"from learners\.\w+ import ([A-Z]\w+)$", code, flags=re.MULTILINE)
    learner, = re.findall(rf"class (\w+)\({base}\)", code)
    flag, = re.findall(r"^    (\w+): float = setting", code, flags=re.MULTILINE)

    def run(*more):
        flags = tiny(base, "--learner_name", learner, "--schedule", 1, "--log_dir", tmp_path / "run", *more)
        return subprocess.run(
            [sys.executable, "run.py", *flags], cwd=copy, env=environment, capture_output=True, text=True,
            timeout=300)

    done = run(f"--{flag}", 0.5)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("final accuracy: ")
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text(encoding="utf-8"))[flag] == 0.5
    refused = run(f"--{flag}", 0.25)
    assert refused.returncode == 2 and f"{flag} 0.5 there, 0.25 here" in refused.stderr
