"""Many runs at once: sweeps, Ray, repeats in parallel. Imports utils.training, utils.reports and all that they may import."""
