"""Other data sets of torchvision, with files in MNIST's format."""

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

import numpy as np

from dataloaders.datasets import DATASETS


def test_grey_images_of_another_size_become_three_channels_at_32_pixels(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    for part, count in (("train", 20), ("t10k", 10)):
        images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
    data = DATASETS["MNIST"].read(tmp_path)
    assert data.train.images.shape == (20, 3, 32, 32) and data.train.images.dtype == np.uint8
    assert (data.train.images[:, :1] == data.train.images).all()
    assert data.test.labels.tolist() == list(range(10))
    assert data.names[7] == "7 - seven"
