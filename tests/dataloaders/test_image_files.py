import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

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
from dataloaders.image_files import ImageFiles, decode
from utils.errors import UserError
from utils.streams import Streams

PIXELS = Pixels((0.0,) * 3, (1.0,) * 3)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Seven files of several sizes: noise, dark on the left, bright on the right."""
    folder, random = tmp_path_factory.mktemp("files"), np.random.RandomState(0)
    for place, size in enumerate([(300, 250), (250, 300), (64, 64), (500, 30), (224, 224), (256, 256), (100, 90)]):
        noise = random.randint(0, 100, (size[1], size[0], 3))
        noise[:, size[0] // 2 :] += 150
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{place}.JPEG")
    return np.array([str(path) for path in sorted(folder.iterdir())])


def source(paths, workers=0, pixels=PIXELS):
    return ImageFiles(np.array(paths), torch.arange(len(paths)), pixels, workers)


def test_what_is_sent_to_a_worker_that_is_not_forked_loads_there(root, environment, paths):
    """As on macOS, and on Linux from Python 3.14 on: nothing has been imported in it."""
    sent = pickle.dumps(image_files._DecodedBatches(paths, True))
    code = "import pickle, sys; pickle.load(sys.stdin.buffer)[[0], [1]]"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, input=sent, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


def served(paths, rows, seed=None, workers=0):
    """All images of the rows in batches of three, augmented where there is a seed."""
    random = None if seed is None else torch.Generator().manual_seed(seed)
    images = source(paths, workers)
    return torch.cat([images.images(some, random) for some in images.fetch(torch.tensor(rows).split(3), random)])


def test_images_for_evaluation_are_resized_to_256_and_cut_in_the_middle(paths):
    imagenet = DATASETS["ImageNet"]
    published = transforms.Compose([
        transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(imagenet.mean, imagenet.std)])
    expected = torch.stack([published(Image.open(path)) for path in paths])
    data = Images.all_of(source(paths, pixels=Pixels(imagenet.mean, imagenet.std)))
    got, labels = map(torch.cat, zip(*data.in_order()))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert labels.tolist() == list(range(7))


@pytest.mark.parametrize("seed", [None, 0])
def test_the_number_of_workers_changes_no_byte(paths, seed):
    rows = [6, 0, 3, 3, 1, 2, 5, 4]
    alone = served(paths, rows, seed)
    assert all(torch.equal(served(paths, rows, seed, workers), alone) for workers in (1, 2))


def test_training_images_are_random_resized_crops_and_flips(paths):
    some = served(paths, [0] * 60, seed=0)
    assert some.shape == (60, 3, 224, 224)
    assert len({image.numpy().tobytes() for image in some}) == 60  # each its own draw
    dark_left = (some[..., :100].mean((1, 2, 3)) < some[..., -100:].mean((1, 2, 3)) - 0.3).sum()
    dark_right = (some[..., -100:].mean((1, 2, 3)) < some[..., :100].mean((1, 2, 3)) - 0.3).sum()
    assert dark_left > 5 and dark_right > 5
    assert dark_left + dark_right < 60  # some crops lie in one half


def test_an_images_augmentation_is_the_published_transform_seeded_by_its_draw(paths):
    draws = torch.randint(2**63 - 1, (2,), generator=torch.Generator().manual_seed(0))
    published = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    expected = []
    with torch.random.fork_rng():
        for path, seed in zip(paths[:2], draws.tolist()):
            torch.manual_seed(seed)
            expected.append(published(Image.open(path)))
    torch.testing.assert_close(served(paths, [0, 1], seed=0), torch.stack(expected), rtol=0, atol=1e-6)


def test_epochs_differ_and_repeat_with_the_seed(paths):
    def two_epochs(seed):
        streams = Streams()
        streams.start(seed, 0)
        batches = ShuffledBatches(lambda: Images.all_of(source(paths)), len(paths), 3, True, streams)
        return [torch.cat([x for x, _ in serve(batches, epoch)]) for epoch in (0, 1)]

    first, again, other = two_epochs(0), two_epochs(0), two_epochs(1)
    assert not torch.equal(*first)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])


def test_a_saved_stream_goes_on_with_the_next_epochs_images(paths):
    def epoch(streams):
        return torch.cat([x for x, _ in serve(ShuffledBatches(lambda: Images.all_of(source(paths)), len(paths), 3, True, streams))])

    streams, resumed = Streams(), Streams()
    streams.start(0, 0)
    epoch(streams)
    resumed.load_state_dict(streams.state_dict())
    assert torch.equal(epoch(resumed), epoch(streams))


@pytest.mark.parametrize("workers", [0, 1])
def test_no_global_random_state_is_touched(paths, workers):
    before = torch.get_rng_state()
    served(paths, [0, 1], seed=0, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_the_files_of_a_batch_are_opened(paths):
    data = Images.all_of(source([*paths, "nowhere.JPEG"]))
    chosen = data[torch.tensor([2, 5])] + data[torch.tensor([2])]
    (images, labels), = chosen.in_order()
    assert labels.tolist() == [2, 5, 2]
    assert torch.equal(images[0], images[2]) and not torch.equal(images[0], images[1])


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1"])
def test_other_kinds_of_picture_become_rgb(paths, tmp_path, mode):
    picture = Image.open(paths[2]).convert(mode)
    picture.save(tmp_path / "x.JPEG", format="PNG" if mode in ("P", "RGBA", "1") else "JPEG")  # as some files of ImageNet are
    assert decode(tmp_path / "x.JPEG").mode == "RGB"


def test_sixteen_bits_of_grey_keep_their_brightness(tmp_path):
    Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)).save(tmp_path / "x.png")
    assert np.asarray(decode(tmp_path / "x.png"))[..., 0].tolist() == [[0, 100], [200, 255]]


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("dataloaders.image_files.Image.open", refuse)
    with pytest.raises(UserError, match="x.png cannot be read .Permission denied.; give yourself"):
        decode(tmp_path / "x.png")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no image", "cut", "missing", "folder"])
def test_what_cannot_be_decoded_is_one_line_with_its_name(paths, tmp_path, workers, content):
    path = tmp_path / "broken.JPEG"
    if content == "folder":
        path.mkdir()
    elif content != "missing":
        with open(paths[0], "rb") as whole:
            path.write_bytes(whole.read()[:3000] if content == "cut" else content)
    with pytest.raises(UserError) as error:
        served([*paths, path], [0, 1, 2, 7], workers=workers)
    assert str(error.value).startswith(f"--dataroot: {path} cannot be decoded (")
    assert "\n" not in str(error.value)


# Workers that die, hang or are not to be waited for


class StopRequested(Exception):
    """What ``raise_if_stopped`` raises."""


def fetched(paths, raise_if_stopped=lambda: None, workers=2):
    source = ImageFiles(np.array(paths), torch.arange(len(paths)), PIXELS, workers, raise_if_stopped=raise_if_stopped)
    return list(source.fetch(torch.arange(len(paths)).split(3), None))


@pytest.fixture
def in_worker(monkeypatch):
    """What a worker does in place of decoding: in_worker(function). Workers are forked here."""
    if multiprocessing.get_start_method() != "fork":
        pytest.skip("workers see no patch where they are not forked")
    return lambda function: monkeypatch.setattr(image_files, "decode", lambda path: function())


def refused(paths, **more):
    with pytest.raises(UserError) as error:
        fetched(paths, **more)
    assert "\n" not in str(error.value)
    assert multiprocessing.active_children() == []
    return str(error.value)


def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.parametrize("die", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGBUS)])
def test_a_worker_that_dies_is_one_line_with_the_remedy(paths, in_worker, die):
    in_worker(die)
    line = refused(paths)
    assert line.startswith("--workers 2: DataLoader worker (pid") and "choose fewer --workers or 0" in line and "--shm-size" in line


def test_a_worker_that_dies_while_others_are_started_is_one_line_too(paths, in_worker, monkeypatch):
    in_worker(lambda: os._exit(3))
    start = image_files.DataLoader.__iter__

    def start_slowly(loader):
        batches = start(loader)
        time.sleep(60)  # ended by torch's handler of SIGCHLD
        return batches

    monkeypatch.setattr(image_files.DataLoader, "__iter__", start_slowly)
    assert refused(paths).startswith("--workers 2: DataLoader worker (pid")


@pytest.mark.parametrize("hang", [lambda: time.sleep(600), stopped])
def test_a_worker_that_hangs_is_one_line_with_the_remedy(paths, in_worker, monkeypatch, hang):
    in_worker(hang)
    monkeypatch.setattr(image_files, "STARVED", 1.0)
    monkeypatch.setattr(image_files, "GLANCE", 0.1)
    assert refused(paths).startswith("--workers 2: no worker gave a batch for 1 s; ")


def test_the_time_in_which_a_run_is_suspended_does_not_count(paths, in_worker, monkeypatch):
    in_worker(lambda: time.sleep(600))
    monkeypatch.setattr(image_files, "GLANCE", 0.1)
    monkeypatch.setattr(image_files, "STARVED", 1.0)
    # Each look at the clock is a long time after the one before.
    monkeypatch.setattr(image_files, "time", SimpleNamespace(monotonic=itertools.count(0, 1000).__next__, sleep=time.sleep))
    calls = []
    with pytest.raises(UserError, match="no worker gave a batch"):
        fetched(paths, lambda: calls.append(None))
    assert len(calls) == 6  # 0.2 s each


@pytest.mark.parametrize("hang", [lambda: time.sleep(600), stopped])
def test_a_stop_request_ends_the_wait_for_a_worker(paths, in_worker, monkeypatch, hang):
    in_worker(hang)
    monkeypatch.setattr(image_files, "GLANCE", 0.1)
    calls = []

    def raise_if_stopped():
        calls.append(None)
        if len(calls) >= 3:
            raise StopRequested

    with pytest.raises(StopRequested):
        fetched(paths, raise_if_stopped)
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system stops no process")
def test_a_worker_that_hangs_in_the_middle_of_a_batch_is_not_waited_for_either(paths, monkeypatch):
    """The batch is half in the pipe: no timeout of a queue would end that."""
    monkeypatch.setattr(image_files, "GLANCE", 0.1)
    batches = ImageFiles(np.array(paths), torch.arange(len(paths)), PIXELS, 1).fetch(torch.arange(6).split(1), None)
    next(batches)
    worker, = multiprocessing.active_children()
    pipe = batches.gi_frame.f_locals["batches"]._worker_result_queue._reader
    assert pipe.poll(60)  # the next batch has begun to come, and is larger than a pipe
    os.kill(worker.pid, signal.SIGSTOP)
    monkeypatch.setattr(image_files, "STARVED", 1.0)
    with pytest.raises(UserError, match="no worker gave a batch"):
        list(batches)
    assert multiprocessing.active_children() == []


def test_a_signal_to_all_processes_is_a_stop_request_and_no_failure(paths, in_worker):
    in_worker(lambda: os.kill(os.getpid(), signal.SIGTERM))

    def raise_if_stopped():
        raise StopRequested

    with pytest.raises(StopRequested):
        fetched(paths, raise_if_stopped)


def test_workers_that_cannot_be_started_are_one_line(paths, monkeypatch):
    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_files, "iter", full, raising=False)
    line = refused(paths)
    assert line.startswith("--workers 2: ") and "No space left on device" in line and "/dev/shm" in line


def test_images_need_no_shared_memory(paths, monkeypatch):
    """What a worker hands over is no tensor, which torch would put into /dev/shm."""
    monkeypatch.setattr("torch.multiprocessing.reductions.reduce_storage", lambda storage: 1 / 0)
    assert torch.equal(torch.cat(fetched(paths)), torch.cat(fetched(paths, workers=0)))


def test_an_epoch_left_early_leaves_no_worker(paths):
    batches = ImageFiles(np.array(paths), torch.arange(7), PIXELS, 2).fetch(torch.arange(7).split(3), None)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


def test_an_epoch_left_early_ends_no_other_runs_workers(paths):
    first, second = (source(paths, workers=1).fetch(torch.arange(7).split(1), None) for _ in range(2))
    next(first), next(second)
    first.close()
    assert len(multiprocessing.active_children()) == 1
    assert len(list(second)) == 6


def test_the_timer_is_given_back_and_other_threads_go_without(paths):
    before = signal.getsignal(signal.SIGALRM)
    fetched(paths)
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)) == (before, (0.0, 0.0))
    found = []
    thread = threading.Thread(target=lambda: found.extend(fetched(paths)))
    thread.start()
    thread.join()
    assert torch.equal(torch.cat(found), torch.cat(fetched(paths)))


def test_with_r_dfcils_transforms_a_training_image_is_the_test_image_shifted_and_flipped(paths):
    pixels = Pixels((0.5,) * 3, (0.25,) * 3, normalised_first=True)
    images, random = source(paths, pixels=pixels), torch.Generator().manual_seed(0)
    rows = [torch.arange(len(paths))]
    (plain,) = (images.images(some, None) for some in images.fetch(rows, None))
    (moved,) = (images.images(some, random) for some in images.fetch(rows, random))
    again = torch.Generator().manual_seed(0)
    top, left = (torch.randint(9, (len(paths),), generator=again) for _ in range(2))
    flip = torch.randint(2, (len(paths),), generator=again).bool()
    assert torch.equal(moved, crop_and_flip(plain, top, left, flip))
