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
        if values[0].startswith("numpy:"):
            return _shuffled(values[0], classes, where)
        where, values = f"{where} {values[0]}", _read_list(expand(values[0], where), where)
    numbers = [_number(value, classes, where) for value in values]
    if numbers and sorted(numbers) != list(range(classes)):
        wrong = next(number for number in range(classes) if numbers.count(number) != 1)
        raise UserError(
            f"{where}: class {wrong} is listed {numbers.count(wrong)} times; list each of the classes "
            f"0 to {classes - 1} once, and learn fewer with --max_task")
    return numbers


def _shuffled(text: str, classes: int, where: str) -> list[int]:
    seed = text.removeprefix("numpy:")
    if not re.fullmatch(r"[0-9]{1,10}", seed) or int(seed) >= 2**32:
        raise UserError(f"{where}: {text!r} needs a seed from 0 to {2**32 - 1}, for example numpy:1993")
    return np.random.RandomState(int(seed)).permutation(classes).tolist()


def _read_list(path: str, where: str) -> list[Any]:
    """A list with at least one entry from a YAML file. Raises UserError."""
    try:
        content = load_yaml(path)
    except UserError as error:
        raise UserError(f"{where}: {error}; {FORMS}") from error
    if not isinstance(content, list) or not content:
        raise UserError(f"{where}: {path} must hold one list of class numbers, such as [3, 1, 0, 2]")
    return content


def _number(value: Any, classes: int, where: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,8}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{where}: {value!r} is not a class number; {FORMS}")
    if not 0 <= value < classes:
        raise UserError(f"{where}: there is no class {value}; the {classes} classes are 0 to {classes - 1}")
    return value


def order_name(order: Sequence[object]) -> str:
    """A short name of an order for tables: its beginning, and a digest of all of it."""
    digest = hashlib.sha256(" ".join(map(str, order)).encode()).hexdigest()[:6]
    return f"{' '.join(map(str, order[:3]))} … ({digest})"
