import csv
import io

import pytest

from utils.reports.paper_tables import PaperTables


def matrix(tasks, start=80.0, drop=10.0, done=None):
    """[after task][on task]: ``start`` when learned, ``drop`` less with every later task; the mean falls by drop / 2 a task."""
    return [[start - drop * (after - on) for on in range(after + 1)] for after in range(tasks)][:done]


@pytest.fixture
def records(tmp_path):
    """The lines of --csv: records(protocol="published protocol", table=1, method="ABD (Ours)", tasks=5) -> [{column: text}]."""

    def read(**wanted):
        lines = csv.DictReader(io.StringIO(PaperTables(tmp_path).show("csv")))
        return [line for line in lines if all(line[name] == str(value) for name, value in wanted.items())]

    return read


def warnings(folder):
    return PaperTables(folder).warnings


PUBLISHED = {"protocol": "published protocol"}
TWO = [matrix(5), matrix(5, 90.0, 20.0)]  # after each task 80 75 70 65 60, and 90 80 70 60 50
