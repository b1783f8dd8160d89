"""Many runs at once: sweeps, Ray, repeats in parallel. Imports utils.training and all that it may import; never reports."""
