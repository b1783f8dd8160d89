"""Tables as text, Markdown, LaTeX or CSV."""

import argparse
import csv
import io
import re
from collections.abc import Sequence
from math import isnan

# {form: (characters to escape, bold)}
MARKUP = {"text": ("\0", "*{}"), "markdown": ("|", "**{}**"), "latex": ("&%$#_{}", r"\textbf{{{}}}")}


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Add ``--markdown``, ``--latex`` and ``--csv``, which set ``form``; its default is text."""
    forms = parser.add_mutually_exclusive_group()
    for form in ("markdown", "latex", "csv"):
        shape = {"action": "store_const", "const": form, "default": "text"}
        forms.add_argument(f"--{form}", dest="form", help=f"print as {form}", **shape)


def show_value(value: float, form: str) -> str:
    return "" if isnan(value) else f"{value:{form}}"


def escape(text: str, form: str) -> str:
    return re.sub(f"([{MARKUP[form][0]}])", r"\\\1", text)


def show_rows(rows: Sequence[Sequence[str]], form: str) -> str:
    """A heading and lines as ``text``, ``markdown``, ``latex`` or ``csv``; cells with a * first are bold."""
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().rstrip("\n")
    bold = MARKUP[form][1]
    plain = [[escape(cell, form) for cell in row] for row in rows]
    cells = [[bold.format(cell[1:]) if cell[:1] == "*" else cell for cell in row] for row in plain]
    if form == "text":
        widths = [max(map(len, column)) for column in zip(*cells)]
        aligned = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells)
        return "\n".join("  ".join(row).rstrip() for row in aligned)
    if form == "markdown":
        head, *lines = (f"| {' | '.join(row)} |" for row in cells)
        return "\n".join([head, "|" + " --- |" * len(rows[0]), *lines])
    head, *lines = (" & ".join(row) + r" \\" for row in cells)
    begin = rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}"
    return "\n".join([begin, head, r"\hline", *lines, r"\end{tabular}"])
