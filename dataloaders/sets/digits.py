"""scikit-learn's handwritten digits, for the demo and the tests."""

from pathlib import Path

import numpy as np
import torch

from dataloaders.base import Data, Split, dataset


@dataset("Digits", classes=10, image_size=32, mean=(0.3053,) * 3, std=(0.3228,) * 3)
def read(root: Path) -> Data:
    """1,797 real images that come with scikit-learn, of 8 x 8 pixels in 17 greys, enlarged to 32 x 32 and
    three equal channels. The last fifth of each class is the test set."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)
    large = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear").round().to(torch.uint8)
    images, labels = large.expand(-1, 3, -1, -1).numpy(), digits.target
    test = np.zeros(len(labels), bool)
    for digit in range(10):
        rows = np.flatnonzero(labels == digit)
        test[rows[len(rows) * 4 // 5:]] = True
    return Data(Split(images[~test], labels[~test]), Split(images[test], labels[test]), tuple("0123456789"))
