"""The base of every error that the command line reports as one line."""

__all__ = ["UserError"]


class UserError(Exception):
    """Something that the user can mend: the message names the thing, what is allowed and what came."""
