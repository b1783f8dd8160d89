"""Reports on runs: tables, figures, the diagnosis. May import utils.training and what that imports."""
