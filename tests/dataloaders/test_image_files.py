import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from dataloaders import image_files
from dataloaders.augmentation import shift_and_flip
from dataloaders.batches import Pixels
from dataloaders.datasets import DATASETS
from dataloaders.image_files import ImageFiles, decode, worker_failure
from utils.errors import UserError

PIXELS = Pixels((0.0,) * 3, (1.0,) * 3)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Seven noisy files of several sizes, dark on the left and bright on the right."""
    folder, random = tmp_path_factory.mktemp("files"), np.random.RandomState(0)
    sizes = [(300, 250), (250, 300), (64, 64), (500, 30), (224, 224), (256, 256), (100, 90)]
    for number, (width, height) in enumerate(sizes):
        noise = random.randint(0, 100, (height, width, 3))
        noise[:, width // 2 :] += 150
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number}.JPEG")
    return np.array([str(path) for path in sorted(folder.iterdir())])


def source(paths, workers=0, pixels=PIXELS):
    return ImageFiles(np.array(paths), torch.arange(len(paths)), pixels, workers)


def seeded(seed):
    return None if seed is None else torch.Generator().manual_seed(seed)


def served(paths, rows, seed=None, workers=0):
    """All images of the rows in batches of three, augmented if there is a seed."""
    random, images = seeded(seed), source(paths, workers)
    batches = images.fetch(torch.tensor(rows).split(3), random)
    return torch.cat([images.images(batch, random) for batch in batches])


@pytest.mark.parametrize("seed", [None, 0])
def test_the_number_of_workers_changes_no_byte_and_no_global_random_state(paths, seed):
    before, rows = torch.get_rng_state(), [6, 0, 3, 3, 1, 2, 5, 4]
    alone = served(paths, rows, seed)
    assert torch.equal(served(paths, rows, seed, workers=2), alone)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [None, 0])
def test_images_are_cropped_by_the_published_transforms_each_with_its_own_seed(paths, seed):
    known = DATASETS["ImageNet"]
    crop = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()] if seed == 0 else [
        transforms.Resize(256), transforms.CenterCrop(224)]
    published = transforms.Compose(
        [*crop, transforms.ToTensor(), transforms.Normalize(known.mean, known.std)])
    draws = torch.randint(2**63 - 1, (len(paths),), generator=torch.Generator().manual_seed(0))
    expected = []
    with torch.random.fork_rng():
        for path, draw in zip(paths, draws.tolist()):
            torch.manual_seed(draw)
            expected.append(published(Image.open(path)))
    images, random = source(paths, pixels=Pixels(known.mean, known.std)), seeded(seed)
    got = [images.images(batch, random) for batch in images.fetch([torch.arange(len(paths))], random)]
    torch.testing.assert_close(torch.cat(got), torch.stack(expected), rtol=0, atol=1e-5)


def test_with_r_dfcils_transforms_a_training_image_is_the_test_image_shifted_and_flipped(paths):
    images = source(paths, pixels=Pixels((0.5,) * 3, (0.25,) * 3, normalised_first=True))
    rows, (random, again) = [torch.arange(len(paths))], (torch.Generator().manual_seed(0) for _ in range(2))
    plain, moved = (
        images.images(next(images.fetch(rows, stream)), stream) for stream in (None, random))
    assert torch.equal(moved, shift_and_flip(plain, again)) and not torch.equal(moved, plain)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1"])
def test_other_kinds_of_image_become_rgb_and_16_bits_of_grey_keep_their_brightness(paths, tmp_path, mode):
    kind = "PNG" if mode in ("P", "RGBA", "1") else "JPEG"  # like some files of ImageNet
    Image.open(paths[2]).convert(mode).save(tmp_path / "x.JPEG", format=kind)
    assert decode(tmp_path / "x.JPEG").mode == "RGB"
    Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)).save(tmp_path / "x.png")
    assert np.asarray(decode(tmp_path / "x.png"))[..., 0].tolist() == [[0, 100], [200, 255]]


@pytest.mark.parametrize(("workers", "content"), [(0, None), (0, "cut"), (1, "cut")])
def test_a_file_that_cannot_be_decoded_is_one_line(paths, tmp_path, workers, content):
    path = tmp_path / "broken.JPEG"
    if content is not None:
        with open(paths[0], "rb") as whole:
            path.write_bytes(whole.read(3000))
    with pytest.raises(UserError) as error:
        served([*paths, path], [0, 1, 2, 7], workers=workers)
    assert str(error.value).startswith(f"{path} cannot be decoded (")
    assert "\n" not in str(error.value)


# Workers


def fetched(paths, workers=2):
    return list(source(paths, workers).fetch(torch.arange(len(paths)).split(3), None))


def hang():
    time.sleep(3)


@pytest.mark.parametrize(("fault", "found"), [
    (lambda: os.kill(os.getpid(), signal.SIGBUS), "DataLoader worker (pid"),  # how a full /dev/shm ends
    (hang, "DataLoader timed out after 1 seconds")])
def test_a_worker_that_dies_or_hangs_is_one_line_with_the_remedy(paths, monkeypatch, fault, found):
    if multiprocessing.get_start_method() != "fork":
        pytest.skip("workers that are not forked see no patch")
    monkeypatch.setattr(image_files, "TIMEOUT", 1 if fault is hang else 60)
    monkeypatch.setattr(image_files, "decode", lambda path: fault())
    with pytest.raises(RuntimeError) as error:
        fetched(paths)
    line = worker_failure(error.value, 2)
    assert line.startswith(f"--workers 2: {found}") and "\n" not in line
    assert "fewer --workers or 0" in line and "--shm-size" in line
    assert worker_failure(RuntimeError("shapes do not match"), 2) == ""


def test_workers_that_cannot_be_started_are_one_line(paths, monkeypatch):
    def full(loader):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_files.DataLoader, "__iter__", full)
    with pytest.raises(UserError, match="--workers 2: .*No space left on device.*/dev/shm"):
        fetched(paths)


def test_images_need_no_shared_memory(paths, monkeypatch):
    """Workers hand over no tensors, which torch would put into /dev/shm."""
    monkeypatch.setattr("torch.multiprocessing.reductions.reduce_storage", lambda storage: 1 / 0)
    assert torch.equal(torch.cat(fetched(paths)), torch.cat(fetched(paths, workers=0)))


def test_what_is_sent_to_a_worker_that_is_not_forked_loads_there(root, environment, paths):
    """As on macOS, and on Linux from Python 3.14 on: nothing has been imported in it."""
    sent = pickle.dumps(image_files._DecodedBatches(paths, True))
    done = subprocess.run(
        [sys.executable, "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)[[0], [1]]"],
        cwd=root, env=environment, input=sent, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
