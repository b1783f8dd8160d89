"""Times a checkout of the authors' 2021 code (github.com/GT-RIPL/AlwaysBeDreaming-DFCIL) in turns with ours.

``compare`` starts this file in a process of its own, because that code has packages with our names. There
run_dfcil.py learns two short tasks unchanged. It is timed through torch: within a pass over a DataLoader an
optimiser takes training steps, outside of one it trains the generator. After each step that process prints
the seconds and waits for a line, so that we can take our turn.
"""

import importlib
import json
import os
import pickle
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 2  # rounds; the first training step is that of the first task
SAME = """learner_type learner_name model_type model_name gen_model_type gen_model_name dataset optimizer
    schedule_type lr momentum weight_decay batch_size deep_inv_params first_split_size
    other_split_size""".split()


def write_images(folder: Path, settings: Any, steps: int) -> None:
    """Random images in CIFAR-100's files: one batch for the first task, ``steps`` for the second."""
    batch, old, new = settings.batch_size, settings.first_split_size, settings.other_split_size
    train = [*(np.arange(batch) % old), *(old + np.arange(steps * batch) % new), *range(old + new, 100)]
    folder.mkdir()
    for name, labels in {"train": train, "test": [*range(100)] * (batch // old + 1)}.items():
        images = np.random.RandomState(0).randint(256, size=(len(labels), 3072), dtype=np.uint8)
        content = {"data": images, "fine_labels": list(map(int, labels)), "coarse_labels": [0] * len(labels)}
        (folder / name).write_bytes(pickle.dumps(content | {"filenames": [""] * len(labels)}))
    names = {"fine_label_names": list(map(str, range(100))), "coarse_label_names": ["all"]}
    (folder / "meta").write_bytes(pickle.dumps(names))


def compare(
    checkout: Path, settings: Any, gpu: int, turns: Mapping[str, Callable[[], float]], rounds: int,
) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Yield (name, [(our seconds, their seconds)]) for each of ``turns`` as soon as it is measured.

    ``turns`` has our part by name, "learn", "loading" or "dream"; calls return seconds. Raises RunError.
    """
    from utils.errors import RunError  # not at the top: the authors' process has another ``utils``

    pairs: dict[str, list[tuple[float, float]]] = {what: [] for what in turns}
    with TemporaryDirectory() as folder, open(f"{folder}/stderr", "w+", errors="replace") as errors:
        write_images(Path(folder, "cifar-100-python"), settings, rounds + WARM_UP)
        flags = {name: getattr(settings, name) for name in SAME} | {
            "gpuid": gpu, "schedule": 1, "power_iters": rounds + WARM_UP + 1, "max_task": 2, "repeat": 1,
            "workers": 0, "overwrite": 1, "dataroot": folder, "log_dir": f"{folder}/run"}
        words = [sys.executable, "-PB", __file__, checkout, torch.get_num_threads(), settings.precision]
        for name, value in flags.items():
            words += [f"--{name}", *(value if isinstance(value, list) else [value])]
        process = subprocess.Popen(
            [*map(str, words), *["--train_aug"] * settings.train_aug], cwd=checkout, text=True, stderr=errors,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            for line in process.stdout or ():
                seconds = json.loads(line)
                for what in seconds.keys() & pairs.keys():
                    pairs[what].append((turns[what](), seconds[what]))
                    if len(pairs[what]) == rounds + WARM_UP:
                        yield what, pairs.pop(what)[WARM_UP:]
                if not pairs:
                    return
                print(file=process.stdin, flush=True)
            errors.seek(0)
            *_, last = ["", *filter(str.strip, errors)]
            raise RunError(f"--against {checkout}: its {settings.learner_name} ended early: {last.strip()}")
        finally:
            process.kill()
            process.wait()


def watch() -> None:
    """From now on, print the seconds of each step and wait for a line; what else is printed goes nowhere."""
    reports, sys.stdout = sys.stdout, open(os.devnull, "w")
    iterate, steps, passes, began = DataLoader.__iter__, 0, 0, 0.0

    def now() -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()

    def report(**seconds: float) -> None:
        print(json.dumps(seconds), file=reports, flush=True)
        sys.stdin.readline()

    def batches(loader: Any) -> Iterator[Any]:
        nonlocal passes
        asked, passes = now(), passes + 1
        try:
            for batch in iterate(loader):
                got, before = now(), steps
                yield batch
                if steps > before:  # otherwise this is an evaluation
                    report(learn=now() - got, loading=got - asked)
                asked = now()
        finally:
            passes -= 1

    def stepped(*_: Any) -> None:
        nonlocal steps, began
        steps += 1
        if not passes:
            if began:  # the generator's first step only starts the clock
                report(dream=now() - began)
            began = now()

    DataLoader.__iter__ = batches  # type: ignore[method-assign, assignment]
    register_optimizer_step_post_hook(stepped)


def run_checkout(folder: str, threads: str, precision: str, *flags: str) -> None:
    _ = runpy.run_path(str(ROOT / "utils" / "torchvision_cpu.py"))  # operators live as long as its names
    sys.path[:] = [folder, *(path for path in sys.path if Path(path).resolve() != ROOT)]
    sys.argv = ["run_dfcil.py", *flags]
    torch.set_num_threads(int(threads))
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    if flags[flags.index("--gpuid") + 1] == "-1":  # some of its calls of .cuda() ignore --gpuid
        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self  # type: ignore
    watch()
    importlib.import_module("trainer")
    for module in list(sys.modules.values()):
        if hasattr(module, "check_integrity"):  # the images are random, so their MD5 is not CIFAR's
            vars(module)["check_integrity"] = lambda path, *_, **__: os.path.isfile(path)
    runpy.run_path(f"{folder}/run_dfcil.py", run_name="__main__")


if __name__ == "__main__":
    run_checkout(*sys.argv[1:])
