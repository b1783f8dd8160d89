"""Numbers and tables as text, Markdown or CSV."""

import argparse
import csv
import io
import math


def add_forms(parser: argparse.ArgumentParser) -> None:
    """The flags ``--markdown`` and ``--csv``, which give ``form``; without one it is ``text``."""
    forms = parser.add_mutually_exclusive_group()
    for form in ("markdown", "csv"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, default="text", help=f"print as {form}")


def show_value(value: float, form: str) -> str:
    return "" if math.isnan(value) else f"{value:{form}}"


def show_number(mean: float, std: float, repeats: int, form: str = ".1f") -> str:
    """Mean ± deviation; one repeat has no deviation."""
    return show_value(mean, form) if math.isnan(mean) or math.isnan(std) or repeats == 1 else f"{mean:{form}} ± {std:{form}}"


def show_repeats(done: int, places: list[str]) -> str:
    """As ``2``, or ``2 + 1 unfinished (task 3/5)``."""
    return f"{done} + {len(places)} unfinished ({', '.join(places)})" if places else str(done)


def show_title(title: str, form: str) -> str:
    return f"### {title}\n\n" if form == "markdown" else f"{title}\n\n"


def show_rows(rows: list[list[str]], form: str) -> str:
    """A heading and lines as aligned ``text``, ``markdown`` or ``csv``."""
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().rstrip("\n")
    if form == "markdown":
        escaped = [[cell.replace("|", r"\|") for cell in row] for row in rows]
        head, *lines = [f"| {' | '.join(row)} |" for row in escaped]
        return "\n".join([head, "|" + " --- |" * len(rows[0]), *lines])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths))) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
