"""What trains a run: the loop, its step, checkpoints, results, the log. Imports learners, dataloaders, models
and utils' own files; never reports or sweeps."""
