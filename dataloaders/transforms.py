"""How images are normalised and augmented, by the name that ``--transforms`` takes."""

from dataclasses import dataclass, field

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Transforms:
    """How images are normalised and, with ``--train_aug``, augmented.

    Attributes:
        normalised_first: training images are normalised, then padded, cropped and flipped, with no change of
            brightness or contrast, so the padding has the mean colour. ImageNet's are cropped to size before.
        statistics: {data set: (mean, std) of each channel} if they differ from the data set's own.
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
