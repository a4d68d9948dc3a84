"""Networks of other tools, taken in exactly or refused."""
