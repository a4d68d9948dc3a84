"""``python -m bnnhw.train``."""

from ..cli import main_of

main_of("train")
