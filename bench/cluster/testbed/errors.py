class Wrong(Exception):
    """The user's mistake, in one line: file, field, what was found, what was expected. Exit code 2."""


class Lacking(Exception):
    """What this machine does not offer, in one line, with what to do about it. Exit code 77: a test skips on it."""


class Failed(Exception):
    """Something the bed did went wrong. Exit code 1."""
