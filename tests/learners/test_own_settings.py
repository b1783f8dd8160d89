"""Settings, refusals and lines of tables that a learner declares in its own file."""

import dataclasses
import functools
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from learners import LEARNERS, REGISTRY
from learners.bic import BICSettings
from learners.lwf import LWF
from tests.learners.conftest import PUBLISHED
from utils import command_line
from utils.errors import UserError
from utils.reports.paper import TABLES
from utils.settings import Registry, Settings, computed_from, setting
from utils.training.folder import RunFolder

parse = functools.partial(command_line.parse, REGISTRY)
BIC = "--learner_type kd --learner_name BIC --memory 2000".split()


@dataclasses.dataclass
class SharpSettings(Settings):
    sharpness: float = setting(1.0, "method", "temperature in 100 %", above=0)


class Sharp(LWF):
    settings: SharpSettings


def registry(*learners):
    return Registry({learner.__name__: learner for learner in learners}, {"dataset": ["CIFAR100"]})


# Whose a setting is


def test_a_setting_of_its_own_is_an_attribute_of_the_learners_settings_alone():
    assert parse([*BIC, "--bias_at_test"]).bias_at_test is True
    assert type(parse(BIC)) is BICSettings and parse(BIC).bias_at_test is False
    assert type(parse([])) is Settings and not hasattr(parse([]), "bias_at_test")


def test_a_learner_inherits_the_settings_of_the_one_it_extends():
    class Sharper(Sharp):
        pass

    assert Sharper.settings_class() is SharpSettings and LWF.settings_class() is Settings


def test_own_settings_are_recorded_and_given_back(tmp_path):
    settings = parse([*BIC, "--bias_at_test", "--log_dir", str(tmp_path / "run")])
    folder = RunFolder(settings)
    folder.begin()
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["bias_at_test"] is True
    assert folder.settings == dataclasses.replace(settings, threads=folder.settings.threads)
    assert parse(["--config", str(tmp_path / "run" / "args.yaml")]) == folder.settings


@pytest.mark.parametrize("flags", ["--bias_at_test", "--bias_at_test 0", "--learner_type kd --learner_name LWF --bias_at_test"])
def test_a_flag_that_only_another_learner_reads_is_refused_and_says_whose_it_is(flags):
    name = "LWF" if "LWF" in flags else "NormalNN"
    with pytest.raises(UserError, match=f"^--bias_at_test: {name} does not read it; BIC does$"):
        parse(shlex.split(flags))


def test_in_a_file_it_is_left_out_as_learners_may_share_the_file(tmp_path):
    (tmp_path / "c.yaml").write_text("bias_at_test: true\n")
    settings = parse(["--config", str(tmp_path / "c.yaml")])
    assert settings == parse([]) and "bias_at_test" not in computed_from(settings)
    assert parse([*BIC, "--config", str(tmp_path / "c.yaml")]).bias_at_test is True


def test_what_only_another_learner_reads_is_checked_all_the_same(tmp_path):
    (tmp_path / "c.yaml").write_text("bias_at_test: 3\n")
    with pytest.raises(UserError, match="bias_at_test: 3 is not true or false"):
        parse(["--config", str(tmp_path / "c.yaml")])


def test_a_resumed_run_must_share_its_learners_own_settings(tmp_path):
    def folder(*flags):
        return RunFolder(parse([*BIC, "--log_dir", str(tmp_path / "run"), *flags]))

    first = folder()
    first.begin()
    first.save({"place": {}})
    folder()
    with pytest.raises(UserError, match="bias_at_test False there, True here"):
        folder("--bias_at_test")


def test_a_copied_file_whose_class_was_not_renamed_is_one_line_with_both_files(root, environment, tmp_path):
    for name in ("learners", "dataloaders", "models", "utils"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "run.py", tmp_path)
    shutil.copy(root / "learners" / "lwf.py", tmp_path / "learners" / "lwf_mine.py")
    done = subprocess.run([sys.executable, tmp_path / "run.py", "--help"], env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "learners/lwf.py and learners/lwf_mine.py both have a class LWF; rename the copy\n"


# What is declared


def test_a_flag_has_the_type_bounds_and_help_of_its_setting(capsys):
    mine = registry(LWF, Sharp)
    flags = ["--learner_type", "kd", "--learner_name", "Sharp", "--first_split_size", "20", "--other_split_size", "20"]
    assert command_line.parse(mine, [*flags, "--sharpness", "2"]).sharpness == 2.0
    for value, message in (("0", "--sharpness: 0.0 is not above 0"), ("x", "--sharpness: 'x' is not a number")):
        with pytest.raises(UserError, match=message):
            command_line.parse(mine, [*flags, "--sharpness", value])
    with pytest.raises(SystemExit):
        command_line.parse(mine, ["--help"])
    assert "temperature in 100 %; default: 1.0" in " ".join(capsys.readouterr().out.split())


def test_own_settings_stand_beside_the_common_ones_of_their_group():
    groups = [flag.metadata["group"] for flag in REGISTRY.flags.values()]
    order = ["learner", "data", "optimisation", "method", "run"]
    assert groups == sorted(groups, key=order.index) and set(groups) == set(order)
    assert REGISTRY.flags["bias_at_test"].metadata["group"] == "method"


def test_two_settings_of_one_name_are_refused():
    @dataclasses.dataclass
    class Again(Settings):
        sharpness: float = setting(3.0, "method", "something else")

    class Other(LWF):
        settings: Again

    @dataclasses.dataclass
    class Common(Settings):
        mu: float = setting(3.0, "method", "what all have")

    class Shadow(LWF):
        settings: Common

    for learners, name in (((Sharp, Other), "sharpness"), ((Shadow,), "mu")):
        with pytest.raises(UserError, match=f"'{name}'"):
            registry(*learners)


def test_settings_that_are_no_dataclass_are_refused():
    class Plain(Settings):
        sharpness: float = setting(3.0, "method", "never read")

    class Other(LWF):
        settings: Plain

    with pytest.raises(UserError, match="@dataclass"):
        registry(Other)


# Lines of the paper's tables, first tasks


def test_the_lines_of_the_tables_are_the_learners_own_in_the_papers_order():
    assert [[method.name for method in methods if method.learner_name in PUBLISHED] for _, methods in TABLES.values()] == [
        ["UB", "Base", "LwF", "LwF.MC", "DGR", "DeepInversion", "LwF-Synthetic", "ABD (Ours)", "R-DFCIL", "CwD", "RFD"],
        ["UB", "Naive Rehearsal", "LwF (coreset)", "E2E", "BiC", "ABD (Ours)"],
        *[["DeepInversion", "ABD", "R-DFCIL", "CwD", "RFD"]] * 2]
    assert {method.learner_name for _, methods in TABLES.values() for method in methods} >= set(PUBLISHED)


def test_which_learners_share_their_first_task():
    shared = [name for name in PUBLISHED if LEARNERS[name].first_task == LEARNERS["NormalNN"].first_task]
    assert sorted(shared) == ["BIC", "DeepInversionGenBN", "DeepInversionLWF", "ETE", "LWF", "NormalNN"]
    alone = [LEARNERS[name].first_task for name in ("AlwaysBeDreaming", "LWF_MC", "Generative_Replay")]
    assert all(alone) and len(set(alone)) == 3


def test_cwd_takes_over_r_dfcils_first_task_and_rfd_its_own_alone():
    assert LEARNERS["CwD"].shares_first_task(LEARNERS["RDFCIL"])
    assert [name for name, other in LEARNERS.items() if LEARNERS["RFD"].shares_first_task(other)] == ["RFD"]


@pytest.mark.parametrize("name", ["RDFCIL", "CwD", "RFD"])
def test_two_phases_need_two_epochs(tiny, name):
    assert command_line.parse(REGISTRY, tiny(name, "--schedule", "2")).schedule == [2]
    with pytest.raises(UserError, match="--schedule"):
        command_line.parse(REGISTRY, tiny(name, "--schedule", "1"))
