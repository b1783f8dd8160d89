"""run.py on the benchmarks, in their official folder layouts."""

import pytest
import yaml

from dataloaders.sets.imagenet import ilsvrc, published_order
from utils.reports.tables import accuracy_table


def accuracies(folder):
    return yaml.safe_load((folder / "results-acc" / "global.yaml").read_text())


TINYIMAGENET = "--dataset TinyImageNet --incomplete_data 1 --gen_model_name TINYIMNET_GEN --train_aug --batch_size 4 --power_iters 2".split()
IMAGENET = (
    "--dataset ImageNet --incomplete_data 1 --model_name resnet18 --gen_model_name IMNET_GEN --train_aug --batch_size 2 --power_iters 2").split()


@pytest.mark.parametrize(("learner", "more"), [("NormalNN", ("--repeat", 2, "--schedule", 15)), ("AlwaysBeDreaming", ("--schedule", 5))])
def test_tinyimagenet_runs_to_its_final_accuracy(main, tiny, tinyimagenet, tmp_path, learner, more):
    assert main(*tiny(learner, *TINYIMAGENET, "--dataroot", tinyimagenet, "--log_dir", tmp_path, *more)) == (0, [])
    *_, last = (tmp_path / "output.log").read_text().splitlines()
    assert last.startswith("final accuracy: ") and "top" not in last
    results = accuracies(tmp_path)
    assert list(results) == ["mean", "std", "history"]
    assert results["mean"][0] > 60  # each class has a colour of its own, and the first task has two classes
    assert 0 < results["mean"][1] < 100


@pytest.mark.parametrize(("learner", "workers"), [("NormalNN", 0), ("NormalNN", 2), ("AlwaysBeDreaming", 0)])
def test_imagenet_runs_to_its_final_accuracy_which_is_top_5(main, tiny, imagenet, tmp_path, learner, workers):
    flags = tiny(learner, *IMAGENET, "--dataroot", imagenet, "--log_dir", tmp_path, "--workers", workers, "--schedule", 1)
    assert main(*flags) == (0, [])
    assert accuracies(tmp_path) == {"mean": [100.0] * 2, "std": [0.0] * 2, "history": [[100.0]] * 2, "top_k": 5}  # of four classes
    lines = (tmp_path / "output.log").read_text().splitlines()
    assert lines[-1] == "final accuracy: 100.0 % (top-5) over 1 repeat"
    assert sum("accuracy 100.0 % (top-5)" in line for line in lines) == 2


@pytest.mark.parametrize("name", ["TinyImageNet", "ImageNet"])
def test_an_incomplete_data_set_is_refused_before_work_and_named_where_it_is_used(main, tiny, tinyimagenet, imagenet, tmp_path, name):
    """The fixtures have a few images a class. The first refusal leaves nothing behind."""
    data = [*TINYIMAGENET, "--dataroot", tinyimagenet] if name == "TinyImageNet" else [*IMAGENET, "--dataroot", imagenet]
    flags = tiny("NormalNN", *data, "--log_dir", tmp_path / "run", "--schedule", 1)
    status, (line,) = main(*flags, "--incomplete_data", 0)
    assert status == 2
    assert "is not the complete data set" in line and f"and {397 if name == 'TinyImageNet' else 97} more classes" in line
    assert "--incomplete_data 1" in line
    assert not (tmp_path / "run").exists()
    assert main(*flags) == (0, [])
    lines = (tmp_path / "run" / "output.log").read_text().splitlines()
    assert any("is not the complete data set" in line and "--incomplete_data 1" in line for line in lines)
    assert any(line.startswith("data:     incomplete") for line in lines)
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["incomplete_data"] == 1
    assert accuracy_table([tmp_path / "run"], "text", []).splitlines()[1].startswith("run, incomplete data ")
    assert main(*flags, "--incomplete_data", 0)[0] == 2


def test_a_list_of_classes_is_recorded_and_another_one_is_another_run(main, tiny, imagenet, tmp_path):
    path, chosen = tmp_path / "classes.txt", [ilsvrc()[label] for label in published_order()[10:14]]
    path.write_text("\n".join(chosen))
    flags = [*IMAGENET, "--dataroot", imagenet, "--imagenet_classes", path, "--schedule", 1]
    assert main(*tiny("NormalNN", *flags, "--log_dir", tmp_path / "run", "--max_task", 1)) == (0, [])
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["imagenet_classes"] == chosen
    assert accuracy_table([tmp_path / "run"], "text", []).splitlines()[1].startswith("run, incomplete data, 4 named classes ")
    assert any("ignored" in line for line in (tmp_path / "run" / "output.log").read_text().splitlines())

    other = ["--log_dir", tmp_path / "other", "--load_model_dir", tmp_path / "run"]
    assert main(*tiny("NormalNN", *flags, *other)) == (0, [])  # whose first task is the same
    path.write_text("\n".join(reversed(chosen)))
    status, (line,) = main(*tiny("NormalNN", *flags, "--log_dir", tmp_path / "run", "--max_task", 1))
    assert status == 2
    assert "holds a run of other settings (imagenet_classes " in line
    status, (line,) = main(*tiny("NormalNN", *flags, *other, "--overwrite", 1))
    assert status == 2
    assert "--load_model_dir" in line and "imagenet_classes" in line

    path.unlink()  # the run itself has the list
    assert main("--config", tmp_path / "run" / "args.yaml", "--log_dir", tmp_path / "again") == (0, [])
    assert accuracies(tmp_path / "again") == accuracies(tmp_path / "run")


def test_class_folders_that_a_run_of_imagenet_lacks_are_named(main, tiny, write_imagenet, tmp_path):
    write_imagenet(tmp_path, {f"n{label:08}": label for label in range(4)})  # four, but not the published ones
    status, (line,) = main(*tiny("NormalNN", *IMAGENET, "--dataroot", tmp_path, "--log_dir", tmp_path / "run"))
    assert status == 2
    assert "no folder for 50 of the 50 classes of this run" in line
    assert not (tmp_path / "run").exists()


def test_a_file_that_cannot_be_decoded_in_the_middle_fails_in_one_line(main, tiny, write_imagenet, tmp_path):
    classes = {f"n{label:08}": label for label in range(4)}
    write_imagenet(tmp_path, classes)
    damaged = sorted((tmp_path / "ilsvrc" / "val" / "n00000001").iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:400])
    for workers in (0, 1):
        flags = [*IMAGENET, "--dataroot", tmp_path, "--log_dir", tmp_path / f"run{workers}", "--workers", workers, "--schedule", 1]
        flags = tiny("NormalNN", *flags, "--imagenet_classes", *classes)
        status, lines = main(*flags)
        assert (status, len(lines)) == (1, 1)
        assert lines[0].startswith(f"run.py: --dataroot: {damaged} cannot be decoded")
