"""What commands print as one line instead of a traceback."""

import argparse
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
