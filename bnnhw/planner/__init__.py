"""The planner: of all designs of a network, the fastest that fits a device, or the least that is fast enough."""
