"""What commands print as one line instead of a traceback."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """Refused before any work: a message that names the flag, file or field at fault and the remedy."""

    status = 2


class Parser(argparse.ArgumentParser):
    """Raises UserError where flags are wrong."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help lists all flags)")


class RunError(Exception):
    """What ends a run that had begun, such as a full disk or a loss that is not finite."""

    status = 1


def run_main(name: str, main: Callable[[], int | None]) -> int:
    """Run a command's ``main`` and return its exit status. A UserError or RunError that escapes is printed as one line."""
    from utils.startup import run_command

    def guarded() -> int:
        try:
            return main() or 0
        except (UserError, RunError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return error.status

    return run_command(name, guarded)
