"""``--load_model_dir``: which first tasks are taken from where, and what is refused."""

import hashlib
import io
import itertools
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from utils.training.recorded import SINCE

from learners import LEARNERS, REGISTRY, Learner
from utils.command_line import parse
from utils.errors import UserError
from utils.files import read_yaml, write_yaml
from utils.training.first_task import first_task


class Hostile:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def other(finished, tmp_path):
    """A finished run that may be changed."""
    shutil.copytree(finished("NormalNN"), tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture
def loading(other, tmp_path):
    """The settings of a run that starts from that one's first task."""
    return parse(REGISTRY, ["--config", str(tmp_path / "other" / "args.yaml"), "--load_model_dir", str(tmp_path / "other")])


def loading_refusal(settings, repeat=0):
    with pytest.raises(UserError) as error:
        first_task(settings, repeat)
    assert "--load_model_dir" in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_first_tasks_model_is_found(other, loading):
    saved = torch.load(other / "models" / "repeat-1" / "task-1" / "class.pth", weights_only=True)
    found = first_task(loading, 0).model
    assert all(torch.equal(found[name], saved[name]) for name in saved)


@pytest.mark.parametrize(("name", "value"), [
    ("dataset", "CIFAR10"), ("model_name", "resnet32"), ("rand_split", False), ("first_split_size", 4), ("validation", True), ("lr", 0.5),
    ("schedule", [2, 3]), ("batch_size", 32), ("train_aug", True), ("momentum", 0.5), ("weight_decay", 0.1), ("optimizer", "Adam"),
    ("precision", "bf16"), ("seed", 1), ("class_order", [3, 1, 2, 0]),
    ("imagenet_classes", ["n00000001"]), ("incomplete_data", 1)])
def test_a_run_with_another_first_task_is_refused_by_name(other, loading, name, value):
    setattr(loading, name, value)
    message = loading_refusal(loading)
    assert re.search(rf": {name} .* there, {re.escape(str(value))} here;", message)
    assert "--load_any 1" in message


@pytest.mark.parametrize("name", ["mu", "temp", "memory", "max_task", "other_split_size", "oracle_flag"])
def test_what_the_first_task_does_not_depend_on_may_differ(other, loading, name):
    setattr(loading, name, {"max_task": 3, "oracle_flag": False}.get(name, 4))
    assert first_task(loading, 0)


@pytest.mark.parametrize("theirs", ["RDFCIL", "CwD"])
def test_the_share_of_the_heads_changes_the_first_task(other, loading, theirs):
    write_yaml(other / "args.yaml", read_yaml(other / "args.yaml") | {"learner_name": theirs, "head_share": 0.2})
    loading.learner_name, loading.head_share = "RDFCIL", 0.5
    assert "head_share 0.2 there, 0.5 here" in loading_refusal(loading)


@pytest.mark.parametrize("declaring", ["NormalNN", "LWF"])
def test_a_setting_that_either_learner_declares_for_its_first_task_must_agree(other, loading, monkeypatch, declaring):
    monkeypatch.setattr(LEARNERS[declaring], "first_task_settings", ("temp",))
    loading.learner_name, loading.temp = "LWF", 4.0
    assert "temp 2.0 there, 4.0 here" in loading_refusal(loading)


SHARED = ("NormalNN", "LWF", "ETE", "BIC", "DeepInversionGenBN", "DeepInversionLWF")


@pytest.mark.parametrize(("theirs", "mine"), [pair for pair in itertools.product(LEARNERS, repeat=2) if pair != ("RFD", "RFD")])  # see below
def test_a_first_task_is_shared_by_learners_that_learn_it_alike(other, loading, theirs, mine):
    write_yaml(other / "args.yaml", read_yaml(other / "args.yaml") | {"learner_name": theirs})
    loading.learner_name = mine
    if theirs == mine or any({theirs, mine} <= set(alike) for alike in (SHARED, ("RDFCIL", "CwD"))):
        assert f", {theirs}'s" in first_task(loading, 0).source
    elif "RFD" in (theirs, mine):
        assert "RFD declares no first_task that it shares" in loading_refusal(loading)
    else:
        assert f"{theirs} learns its first task in another way than {mine}" in loading_refusal(loading)


@pytest.mark.parametrize(("theirs", "mine"), [("NormalNN", "New"), ("New", "NormalNN")])
def test_a_new_learner_that_declares_nothing_of_its_first_task_is_said_to(other, loading, monkeypatch, theirs, mine):
    monkeypatch.setitem(LEARNERS, "New", type("New", (Learner,), {}))
    write_yaml(other / "args.yaml", read_yaml(other / "args.yaml") | {"learner_name": theirs})
    loading.learner_name = mine
    assert "New declares no first_task that it shares with other learners (learners/base.py)" in loading_refusal(loading)


@pytest.mark.parametrize(("theirs", "mine"), [("CwD", "RDFCIL"), ("RFD", "RFD")])
def test_learners_of_two_phases_run_on_from_a_first_task_with_heads_as_theirs(finished, trainer, tmp_path, theirs, mine):
    source, folder = finished(theirs), tmp_path / "run"
    trainer(folder, mine, "--load_model_dir", source, "--classification_weight", 1).run()
    there, here = (torch.load(one / "models" / "repeat-1" / "task-1" / "class.pth", weights_only=True) for one in (source, folder))
    assert all(torch.equal(here[name], value) for name, value in there.items())


@pytest.mark.parametrize(("flags", "reason"), [
    ((), "RFD declares no first_task that it shares"), (("--load_any", 1), "its tensors are another network's")])
def test_heads_of_two_layers_are_no_other_learners(finished, trainer, tmp_path, flags, reason):
    with pytest.raises(UserError, match=f"^--load_model_dir .*{reason}") as error:
        trainer(tmp_path / "run", "RDFCIL", "--load_model_dir", finished("RFD"), *flags)
    assert "\n" not in str(error.value)


def test_abds_first_task_of_before_is_not_that_of_now(other, loading):
    there = read_yaml(other / "args.yaml") | {"learner_name": "AlwaysBeDreaming"}
    loading.learner_name = "AlwaysBeDreaming"
    write_yaml(other / "args.yaml", there)
    assert first_task(loading, 0)
    write_yaml(other / "args.yaml", {name: value for name, value in there.items() if name not in SINCE})
    assert "over the seen outputs alone" in loading_refusal(loading)


def test_dw_counts_where_it_is_read(other, loading):
    loading.DW = True
    assert first_task(loading, 0)  # NormalNN without a coreset
    loading.memory = 20
    assert "weighed by DW here alone" in loading_refusal(loading)
    write_yaml(other / "args.yaml", read_yaml(other / "args.yaml") | {"DW": True, "memory": 20})
    assert first_task(loading, 0)
    loading.learner_name, loading.memory = "ETE", 20
    assert "weighed by DW there alone" in loading_refusal(loading)


def test_load_any_takes_another_first_task_and_says_what_differs(other, loading):
    loading.load_any, loading.lr, loading.learner_name = 1, 0.5, "AlwaysBeDreaming"
    found = first_task(loading, 0)
    assert found.source.endswith(
        "NormalNN's, taken with --load_any 1 although: NormalNN learns its first task in another way than AlwaysBeDreaming; lr 0.05 there, 0.5 here")
    loading.load_any = 0
    write_yaml(other / "args.yaml", read_yaml(other / "args.yaml") | {"load_any": 1, "load_model_dir": "third"})
    assert "load_any" in loading_refusal(loading)  # what that run took is not what its settings say
    write_yaml(other / "args.yaml", read_yaml(other / "args.yaml") | {"load_any": 1, "load_model_dir": ""})
    loading.load_any, loading.lr, loading.learner_name = 0, 0.05, "NormalNN"
    assert first_task(loading, 0)  # it took none


def test_load_any_does_not_take_tensors_of_other_shapes(other, loading):
    loading.load_any, loading.model_name = 1, "resnet14"
    assert "no resnet14 for Digits" in loading_refusal(loading)


@pytest.mark.parametrize(("prefix", "how"), [("", {}), ("module.", {}), ("", {"_use_new_zipfile_serialization": False})])
def test_a_plain_state_dict_of_the_right_shapes_is_taken(other, loading, plain, prefix, how):
    path = other / "models" / "repeat-1" / "task-1" / "class.pth"
    saved = torch.load(path, weights_only=True)
    plain(path, prefix, **how)
    found = first_task(loading, 0)
    assert list(found.model) == list(saved)
    assert all(torch.equal(found.model[name], saved[name]) for name in saved)
    assert found.source == f"{path}, NormalNN's, which carries no checksum"


def test_a_run_of_the_published_code_is_taken_without_its_seconds_a_step(other, loading, plain, as_published):
    plain(other / "models" / "repeat-1" / "task-1" / "class.pth")
    as_published(other)
    found = first_task(loading, 0)
    assert "NormalNN's of the published code, which carries no checksum" in found.source
    assert math.isnan(found.seconds)
    loading.lr = 0.5
    assert "lr 0.05 there, 0.5 here" in loading_refusal(loading)


def test_a_plain_state_dict_of_other_tensors_is_refused(other, loading):
    path = other / "models" / "repeat-1" / "task-1" / "class.pth"
    whole = torch.load(path, weights_only=True)
    for state in ({"last.weight": torch.zeros(2)}, list(whole.values()), dict(reversed(whole.items())) | {"last.bias": torch.zeros(3)},
                  {"model": whole}, {f"x.{name}": value.flatten() for name, value in whole.items()}):
        torch.save(state, path)
        assert "no resnet8 for Digits" in loading_refusal(loading)


@pytest.mark.parametrize("checksum", [True, False])
def test_a_model_of_which_a_bit_has_changed_is_refused(other, loading, plain, checksum):
    path = other / "models" / "repeat-1" / "task-1" / "class.pth"
    if not checksum:
        plain(path)
    written = bytearray(path.read_bytes())
    written[len(written) // 2] ^= 1
    path.write_bytes(written)
    assert "damaged" in loading_refusal(loading)


def test_a_run_without_that_repeat_is_refused(other, loading):
    assert "repeat 2" in loading_refusal(loading, 1)


@pytest.mark.parametrize("name", ["args.yaml", "models/repeat-1/task-1/class.pth", "results-time/global.yaml"])
@pytest.mark.parametrize("damage", ["missing", "empty", "nonsense"])
def test_a_run_with_missing_or_damaged_files_is_refused(other, loading, name, damage):
    (other / name).unlink()
    if damage != "missing":
        (other / name).write_bytes(b"" if damage == "empty" else b"- just\n- a list\n")
    loading_refusal(loading)


def test_a_hostile_model_or_args_yaml_is_never_run(other, loading, tmp_path):
    path = other / "models" / "repeat-1" / "task-1" / "class.pth"
    content = io.BytesIO()
    torch.save(Hostile(tmp_path / "marker"), content)
    path.write_bytes(content.getvalue() + hashlib.sha256(content.getvalue()).digest())
    loading_refusal(loading)
    path.write_bytes(content.getvalue())
    loading_refusal(loading)
    (other / "args.yaml").write_text(f"!!python/object/apply:builtins.open ['{tmp_path / 'marker'}', w]")
    loading_refusal(loading)
    assert not (tmp_path / "marker").exists()


def test_a_folder_that_does_not_exist_is_refused(loading, tmp_path):
    loading.load_model_dir = str(tmp_path / "nowhere")
    assert "args.yaml" in loading_refusal(loading)
