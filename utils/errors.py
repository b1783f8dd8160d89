"""The one exception for what a user can mend; ``run.py`` prints it as a line and exits with 2."""


class UserError(Exception):
    """A message that names the flag, file or field at fault and the remedy."""
