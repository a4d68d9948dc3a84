"""``python -m bnnhw`` is ``bnnhw``."""

import sys

from .cli import main

sys.exit(main())
