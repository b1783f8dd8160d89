"""``--class_order``: class numbers, a YAML file of them, or a seed of numpy's shuffle."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.files import expand, load_yaml

FORMS = "give numbers, a YAML file that lists them, or numpy:SEED"


def read_order(given: Any, classes: int, where: str) -> list[int]:
    """A permutation of the classes from 0, or an empty list if none was given. Raises UserError.

    Args:
        given: numbers, the path of a YAML file that lists them, or ``numpy:SEED``, which shuffles like PyCIL:
            ``np.random.seed(SEED); np.random.permutation(classes)``.
        where: the flag, or the file and field, for errors.
    """
    values = given if isinstance(given, list) else [given]
    if len(values) == 1 and isinstance(values[0], str) and not values[0].isdigit():
        if seed := re.fullmatch(r"numpy:(\d{1,9})", values[0]):
            return np.random.RandomState(int(seed[1])).permutation(classes).tolist()
        path = expand(values[0], where)
        try:
            values = load_yaml(path)
        except UserError as error:
            raise UserError(f"{where}: {error}; {FORMS}") from error
        where = f"{where} {path}"
    if not isinstance(values, list):
        raise UserError(f"{where}: {values!r} is no list of class numbers; {FORMS}")
    numbers = [int(value) if isinstance(value, str) and value.isdecimal() else value for value in values]
    for number in numbers:
        if type(number) is not int or not 0 <= number < classes or numbers.count(number) > 1:
            raise UserError(f"{where}: {number!r} is listed twice or is none of the classes 0 to "
                            f"{classes - 1}; {FORMS}")
    if len(numbers) != classes and given != []:
        raise UserError(f"{where}: lists {len(numbers)} of {classes} classes; list all, and learn fewer with "
                        "--max_task")
    return numbers


def order_name(order: Sequence[object]) -> str:
    """A short name of an order for tables: its beginning, and a digest of all of it."""
    digest = hashlib.sha256(" ".join(map(str, order)).encode()).hexdigest()[:6]
    return f"{' '.join(map(str, order[:3]))} … ({digest})"
