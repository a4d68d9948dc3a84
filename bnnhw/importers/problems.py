"""What keeps a foreign network from being taken in: by node, operation, reason, and what would be accepted."""

from dataclasses import dataclass

from ..errors import UserError

__all__ = ["Problem", "Refusal"]


@dataclass(frozen=True)
class Problem:
    """One place of a foreign network.

    Attributes
    ----------
    node, operation : str
        As the foreign file calls them; both empty where the whole file is meant.
    reason : str
    accepted : str
        What would be taken; may be empty.
    """
    node: str
    operation: str
    reason: str
    accepted: str = ""

    def __str__(self):
        place = f"node {self.node!r} ({self.operation}): " if self.node else f"{self.operation}: " if self.operation else ""
        return place + self.reason + (f"; accepted: {self.accepted}" if self.accepted else "")


class Refusal(UserError, ValueError):
    """A network that cannot be taken in exactly. The message is the first problem, in one line.

    Attributes
    ----------
    problems : tuple of Problem
        All that were found.
    """
    def __init__(self, path, problems):
        self.problems = tuple(problems)
        more = len(self.problems) - 1
        rest = f" (and {more} more problem{'s' * (more > 1)}: --check lists them)" if more else ""
        super().__init__(f"{path}: {self.problems[0]}{rest}")
