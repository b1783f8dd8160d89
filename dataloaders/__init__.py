"""Data sets as arrays or files, the sequence of tasks, and device-resident batches."""

# It imports utils, which prepares the process: dataloaders.image_folder is a command. Workers of a DataLoader come by here, too.
import utils.torchvision_cpu  # noqa: F401  (before torchvision)
