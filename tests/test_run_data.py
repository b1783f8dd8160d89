"""run.py on image files, in the official folder layouts of the benchmarks."""

import yaml

from dataloaders.sets.imagenet import ilsvrc, published_order

TINYIMAGENET = (
    "--dataset TinyImageNet --gen_model_name TINYIMNET_GEN --train_aug --batch_size 4 --power_iters 2 "
    "--schedule 1").split()
IMAGENET = (
    "--dataset ImageNet --incomplete_data 1 --model_name resnet18 --gen_model_name IMNET_GEN --train_aug "
    "--batch_size 2 --power_iters 2 --schedule 1 --max_task 1").split()


def test_tinyimagenet_runs_to_its_final_accuracy_and_if_it_is_incomplete_only_when_told_so(
        main, tiny, tinyimagenet, tmp_path):
    flags = tiny("AlwaysBeDreaming", *TINYIMAGENET, "--dataroot", tinyimagenet, "--log_dir", tmp_path / "run")
    status, (line,) = main(*flags)
    assert status == 2 and "is not the complete data set" in line and "--incomplete_data 1" in line
    assert not (tmp_path / "run").exists()
    assert main(*flags, "--incomplete_data", 1) == (0, [])
    lines = (tmp_path / "run" / "output.log").read_text().splitlines()
    assert lines[-1].startswith("final accuracy: ") and "top" not in lines[-1]
    assert any("is not the complete data set" in line for line in lines)
    assert any(line.startswith("data: ") and "incomplete" in line for line in lines)


def test_imagenet_is_measured_by_top_5_and_other_classes_are_another_run(main, tiny, imagenet, tmp_path):
    path, chosen = tmp_path / "classes.txt", [ilsvrc()[label] for label in published_order()[10:14]]
    path.write_text("\n".join(chosen))
    flags = tiny("NormalNN", *IMAGENET, "--dataroot", imagenet, "--imagenet_classes", path, "--workers", 2,
                 "--log_dir", tmp_path / "run")
    assert main(*flags) == (0, [])
    results = yaml.safe_load((tmp_path / "run" / "results-acc" / "global.yaml").read_text())
    assert results == {"mean": [100.0], "std": [0.0], "history": [[100.0]], "top_k": 5}  # of two classes
    assert "top_k" not in (tmp_path / "run" / "results-acc" / "top1.yaml").read_text()
    lines = (tmp_path / "run" / "output.log").read_text().splitlines()
    assert lines[-1] == "final accuracy: 100.0 % (top-5) over 1 repeat"
    path.write_text("\n".join(reversed(chosen)))
    status, (line,) = main(*flags)
    assert status == 2 and "(imagenet_classes " in line
