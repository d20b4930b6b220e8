"""Errors whose texts are for the person at the keyboard.

DevservicesError        a condition of this machine prevents the start
└── CannotControl       stop, kill, pause or restart of a server that others run
"""


class DevservicesError(RuntimeError):
    """The message is one sentence: what is wrong, where, and how to fix it."""


class CannotControl(DevservicesError):
    """The server is named in the environment: it may be used, not controlled."""
