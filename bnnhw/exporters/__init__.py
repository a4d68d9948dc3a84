"""Networks of ours as files of other tools."""
