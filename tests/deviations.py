"""How far numbers are from the expected ones, in tolerances: 1 is the largest deviation that passes."""

import torch

TOLERANCE = 1e-6
FLOOR = 1e-3  # the deviation of a smaller number is relative to this


def relative(got, expected):
    return abs(float(torch.as_tensor(got).detach()) - expected) / (TOLERANCE * max(abs(expected), FLOOR))


def absolute(got, expected):
    got, expected = (torch.as_tensor(values).detach().double() for values in (got, expected))
    return same(got.shape, expected.shape) + float((got - expected).abs().max()) / TOLERANCE


def same(got, expected):
    return 0.0 if got == expected else float("inf")


def fingerprint(got, expected):
    """Compare a tensor's [L2 norm, mean, first four values]."""
    norm, mean, first = expected
    values = got.detach().flatten()
    return max(
        relative(values.norm(), norm), absolute(values.mean(), mean), absolute(values[: len(first)], first))


def fingerprints(got, expected):
    return max(fingerprint(got[name], value) for name, value in expected.items())


def terms(got, expected, *others):
    """Compare the terms of a loss with the expected ones, of which ``others`` are no terms."""
    got = {name.replace(" ", "_"): value for name, value in got.items()}
    yield same(got.keys(), expected.keys() - {*others})
    yield from (relative(value, expected.get(name, float("nan"))) for name, value in got.items())


def shape_and_values(got, expected):
    """Compare a tensor's shape, norm and first values."""
    yield same(list(got.shape), expected["shape"])
    yield relative(got.norm(), expected["norm"])
    yield absolute(got.flatten()[: len(expected["first"])], expected["first"])
