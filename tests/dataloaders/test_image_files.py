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
from conftest import serve
from PIL import Image
from torchvision import transforms

from dataloaders import image_files
from dataloaders.augmentation import crop_and_flip
from dataloaders.batches import Images, Pixels, ShuffledBatches
from dataloaders.datasets import DATASETS
from dataloaders.image_files import ImageFiles, decode, worker_failure
from utils.errors import UserError
from utils.streams import Streams

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


def served(paths, rows, seed=None, workers=0):
    """All images of the rows in batches of three, augmented if there is a seed."""
    random = None if seed is None else torch.Generator().manual_seed(seed)
    images = source(paths, workers)
    return torch.cat([images.images(some, random) for some in images.fetch(torch.tensor(rows).split(3), random)])


def test_images_for_evaluation_are_resized_to_256_and_cropped_in_the_middle(paths):
    known = DATASETS["ImageNet"]
    published = transforms.Compose([
        transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
        transforms.Normalize(known.mean, known.std)])
    expected = torch.stack([published(Image.open(path)) for path in paths])
    got, labels = map(torch.cat, zip(*Images.all_of(source(paths, 0, Pixels(known.mean, known.std))).in_order()))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert labels.tolist() == list(range(7))


@pytest.mark.parametrize("seed", [None, 0])
def test_the_number_of_workers_changes_no_byte_and_no_global_random_state(paths, seed):
    before, rows = torch.get_rng_state(), [6, 0, 3, 3, 1, 2, 5, 4]
    alone = served(paths, rows, seed)
    assert torch.equal(served(paths, rows, seed, workers=2), alone)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_image_is_augmented_by_the_published_transform_with_its_own_seed(paths):
    draws = torch.randint(2**63 - 1, (2,), generator=torch.Generator().manual_seed(0))
    published = transforms.Compose([
        transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    expected = []
    with torch.random.fork_rng():
        for path, seed in zip(paths[:2], draws.tolist()):
            torch.manual_seed(seed)
            expected.append(published(Image.open(path)))
    torch.testing.assert_close(served(paths, [0, 1], seed=0), torch.stack(expected), rtol=0, atol=1e-6)


def test_a_saved_stream_goes_on_with_the_next_epochs_images(paths):
    def epoch(streams):
        batches = ShuffledBatches(lambda: Images.all_of(source(paths)), 3, True, streams)
        return torch.cat([x for x, _ in serve(batches)])

    streams, resumed = Streams(), Streams()
    streams.start(0, 0)
    first = epoch(streams)
    resumed.load_state_dict(streams.state_dict())
    second = epoch(streams)
    assert torch.equal(epoch(resumed), second)
    assert not torch.equal(first, second)


def test_with_r_dfcils_transforms_a_training_image_is_the_test_image_shifted_and_flipped(paths):
    images = source(paths, pixels=Pixels((0.5,) * 3, (0.25,) * 3, normalised_first=True))
    random, again = (torch.Generator().manual_seed(0) for _ in range(2))
    rows = [torch.arange(len(paths))]
    (plain,) = (images.images(some, None) for some in images.fetch(rows, None))
    (moved,) = (images.images(some, random) for some in images.fetch(rows, random))
    top, left = (torch.randint(9, (len(paths),), generator=again) for _ in range(2))
    flip = torch.randint(2, (len(paths),), generator=again).bool()
    assert torch.equal(moved, crop_and_flip(plain, top, left, flip))


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1"])
def test_other_kinds_of_image_become_rgb(paths, tmp_path, mode):
    kind = "PNG" if mode in ("P", "RGBA", "1") else "JPEG"  # as some files of ImageNet are, whatever their name
    Image.open(paths[2]).convert(mode).save(tmp_path / "x.JPEG", format=kind)
    assert decode(tmp_path / "x.JPEG").mode == "RGB"


def test_sixteen_bits_of_grey_keep_their_brightness(tmp_path):
    Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)).save(tmp_path / "x.png")
    assert np.asarray(decode(tmp_path / "x.png"))[..., 0].tolist() == [[0, 100], [200, 255]]


@pytest.mark.parametrize(("workers", "content"), [(0, b""), (0, b"no image"), (0, None), (0, "cut"), (1, "cut")])
def test_a_file_that_cannot_be_decoded_is_one_line(paths, tmp_path, workers, content):
    path = tmp_path / "broken.JPEG"
    if content is not None:
        with open(paths[0], "rb") as whole:
            path.write_bytes(whole.read(3000) if content == "cut" else content)
    with pytest.raises(UserError) as error:
        served([*paths, path], [0, 1, 2, 7], workers=workers)
    assert str(error.value).startswith(f"--dataroot: {path} cannot be decoded (")
    assert "\n" not in str(error.value)


# Workers


def fetched(paths, workers=2):
    return list(source(paths, workers).fetch(torch.arange(len(paths)).split(3), None))


@pytest.fixture
def in_worker(monkeypatch):
    """in_worker(function) has workers call it instead of decoding; they are forked."""
    if multiprocessing.get_start_method() != "fork":
        pytest.skip("workers that are not forked see no patch")
    return lambda function: monkeypatch.setattr(image_files, "decode", lambda path: function())


def hang():
    time.sleep(600)


@pytest.mark.parametrize(("fault", "found"), [
    (lambda: os.kill(os.getpid(), signal.SIGKILL), "DataLoader worker (pid"),
    (lambda: os.kill(os.getpid(), signal.SIGBUS), "DataLoader worker (pid"),  # how a full /dev/shm ends
    (lambda: os._exit(3), "DataLoader worker (pid"), (hang, "DataLoader timed out after 1 seconds")])
def test_a_worker_that_dies_or_hangs_is_one_line_with_the_remedy(paths, in_worker, monkeypatch, fault, found):
    monkeypatch.setattr(image_files, "TIMEOUT", 1 if fault is hang else 60)
    in_worker(fault)
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


def test_an_epoch_left_early_leaves_no_worker(paths):
    batches = source(paths, 2).fetch(torch.arange(7).split(3), None)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


def test_what_is_sent_to_a_worker_that_is_not_forked_loads_there(root, environment, paths):
    """As on macOS, and on Linux from Python 3.14 on: nothing has been imported in it."""
    sent = pickle.dumps(image_files._DecodedBatches(paths, True))
    done = subprocess.run(
        [sys.executable, "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)[[0], [1]]"],
        cwd=root, env=environment, input=sent, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
