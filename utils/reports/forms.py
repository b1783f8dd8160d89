"""Numbers and tables as text, Markdown or CSV."""

import argparse
import csv
import io
from collections.abc import Sequence
from math import isnan

from utils.reports.runs import Run, Stat

HERE = "± std (n-1)"  # the deviation of what was measured here: the sample's
OVER_IMAGES = ("final, over images", "average, over images")


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Add ``--markdown`` and ``--csv``, which set ``form``."""
    forms = parser.add_mutually_exclusive_group()
    for form in ("markdown", "csv"):
        forms.add_argument(
            f"--{form}", dest="form", action="store_const", const=form, default="text",
            help=f"print as {form}")


def show_value(value: float, form: str = ".1f") -> str:
    return "" if isnan(value) else f"{value:{form}}"


def show_number(stat: Stat, form: str = ".1f") -> str:
    """Mean ± the sample's deviation."""
    return show_value(stat.mean, form) if isnan(stat.sample) else f"{stat.mean:{form}} ± {stat.sample:{form}}"


def show_repeats(run: Run) -> str:
    places = run.unfinished
    return f"{run.finished} + {len(places)} unfinished ({', '.join(places)})" if places else str(run.finished)


def show_rows(rows: Sequence[Sequence[str]], form: str) -> str:
    """A heading and lines as aligned ``text``, ``markdown`` or ``csv``."""
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().rstrip("\n")
    if form == "markdown":
        head, *lines = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)
        return "\n".join([f"| {head} |", "|" + " --- |" * len(rows[0]), *(f"| {line} |" for line in lines)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    first = [row[0].ljust(widths[0]) for row in rows]
    others = ["".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:])) for row in rows]
    return "\n".join((name + cells).rstrip() for name, cells in zip(first, others))


def csv_columns(measures: Sequence[str]) -> list[str]:
    return [f"{name}{part}" for name in measures for part in ("", "_std_sample", "_std_population")]
