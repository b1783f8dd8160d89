"""What trains a run: the loop, its step, checkpoints, the log, metrics. Imports learners, dataloaders, models
and utils' own files; never reports or sweeps."""
