"""Data sets, the sequence of tasks they are split into, and the batches of a task."""

import utils.torchvision_cpu  # noqa: F401  (must come before torchvision, also in a DataLoader's workers)
