"""What ``run.py`` prints as one line instead of a traceback."""


class UserError(Exception):
    """Refused before any work: a message that names the flag, file or field at fault and the remedy; status 2."""


class RunError(Exception):
    """What ends a run that had begun, such as a full disk or a loss that is not finite; status 1."""
