"""docs/settings.md out of the settings themselves.

    .venv/bin/python -m utils.reports.settings_page > docs/settings.md
"""

import sys
from typing import get_origin

from learners import REGISTRY
from utils.command_line import element_type
from utils.settings import NOT_IN_RESULTS, Flag
from utils.startup import finish, run_command


def _takes(flag: Flag) -> str:
    """What values a setting may have, as a person says it."""
    bounds, kind = flag.metadata, flag.type
    if "takes" in bounds:
        return bounds["takes"]
    if "choices" in bounds:
        return ", ".join(f"`{choice}`" for choice in bounds["choices"])
    many, element = get_origin(kind) is list, element_type(kind)
    word = {bool: "switch: `0`, `1`", str: "text", int: "whole number", float: "number"}[element]
    count = f"{bounds['length']} " if "length" in bounds else ""
    if "high" in bounds:
        limits = [f"from {bounds['low']:g} to {bounds['high']:.10g}"]
    else:
        limits = [f"{sign} {bounds[bound]:g}" for bound, sign in (("low", "≥"), ("above", ">")) if bound in bounds]
    return " ".join([f"{count}{word}{'s' * many}", *limits])


def settings_page() -> str:
    """docs/settings.md: every setting by group, its default, values, unit and meaning."""
    page = [
        "# Settings", "", "Written out of [utils/settings.py](../utils/settings.py) and the methods' own settings in [learners/](../learners)",
        "by `.venv/bin/python -m utils.reports.settings_page > docs/settings.md`.", "",
        "A setting is a flag (`--lr 0.1`), a line of a `--config` YAML file (`lr: 0.1`; several values as `[100, 150]`) and of a run's",
        "`args.yaml`. Flags win over files, later files over earlier ones. Published flags keep their name and meaning.",
        "`~` at the beginning of a path is the home folder.",
        "A switch is on with its flag alone (`--DW`) or with a value (`--DW 1`, `DW: true`), and off with `--DW 0` or `DW: false`, which also turns",
        "off what a file has turned on.",
        "A setting that some methods declare for themselves, such as BiC's `bias_at_test`, is refused as a flag of others. In a file, which methods",
        "may share, it is checked and then ignored: neither computed with nor recorded.", "",
        "A stopped run resumes with other values of these, which don't change what is computed; any other change is refused:",
        f"{', '.join(f'`{name}`' for name in NOT_IN_RESULTS)}."]
    group = ""
    for name, flag in REGISTRY.flags.items():
        if flag.metadata["group"] != group:
            group = flag.metadata["group"]
            page += ["", f"## {group[0].upper()}{group[1:]}", "", "| setting | default | takes | meaning |", "| --- | --- | --- | --- |"]
        default = flag.default
        values = [f"{value:g}" if isinstance(value, float) else str(value) for value in (default if isinstance(default, list) else [default])]
        shown = "off" if default is False else f"`{' '.join(values)}`" if default not in ("", []) else "none"
        page.append(f"| `{name}` | {shown} | {_takes(flag)} | {flag.metadata['help']} |")
    return "\n".join(page)


def main() -> int:
    print(settings_page())
    return finish("utils.reports.settings_page")


if __name__ == "__main__":
    sys.exit(run_command("utils.reports.settings_page", main))
