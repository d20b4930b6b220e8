"""What can go wrong, in words for the person at the keyboard.

DevservicesError        something on this machine is not as needed
└── CannotControl       a server that is not ours to stop was asked to stop
"""


class DevservicesError(RuntimeError):
    """Its message is one sentence: what is wrong, where, and how to mend it."""


class CannotControl(DevservicesError):
    """Stop, kill, pause or restart of a server that somebody else runs."""
