"""What a command raises when the user can put something right: one line, no stack trace."""

from __future__ import annotations


class Problem(Exception):
    """Bad usage or input. The message is one line that names the file or argument and what was expected."""

    exit_code = 2
