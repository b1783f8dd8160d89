"""What is shown of runs: tables, figures, the diagnosis. Imports utils.training and all that it may import; never sweeps."""
