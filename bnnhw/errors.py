"""The base of every error that the command line reports as one line."""

__all__ = ["UsageError", "UserError"]


class UserError(Exception):
    """Something that the user can mend: the message names the thing, what is allowed and what came."""


class UsageError(UserError, ValueError):
    """Arguments that contradict each other, as the command line alone shows: exit status 2."""
