"""What is said of a build: the values of report.json, the table on the terminal, the page report.html."""

from .facts import describe, layers, versions
from .page import page
from .table import table

__all__ = ["describe", "layers", "page", "table", "versions"]
