"""What training and test images go through before a network, by ``--transforms``."""

from dataclasses import dataclass, field

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Transforms:
    """How images are normalised and, with ``--train_aug``, augmented.

    Attributes:
        normalised_first: training images are normalised before they are padded and cropped, then flipped, with no
            change of brightness or contrast; the padding is then the mean colour. Of ImageNet the resized centre is cropped so.
        statistics: (mean, deviation) of each channel in [0, 1] by data set, where they are not the data set's own.
    """

    normalised_first: bool = False
    statistics: dict[str, Statistics] = field(default_factory=dict)


TRANSFORMS = {
    "abd": Transforms(),  # docs/specification.md, "Protocol"
    "rdfcil": Transforms(True, {  # docs/successors.md, "Data"
        "CIFAR10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        "CIFAR100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        "TinyImageNet": ((0.4803, 0.4481, 0.3976), (0.2764, 0.2688, 0.2816)),
        "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }),
}
