"""Data sets as arrays or files, the sequence of tasks, and device-resident batches."""

import utils  # noqa: F401  (prepares the process: dataloaders.image_folder is a command)
