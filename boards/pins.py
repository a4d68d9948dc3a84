"""Pins from the tables of amaranth-boards."""

__all__ = ["pin"]


def pin(platform, name, number=0, part=None):
    """(package pin, attributes) of a resource, or of a part of it such as a UART's ``rx``."""
    resource = next(r for r in platform.resources if (r.name, r.number) == (name, number))
    found = resource if part is None else next(s for s in resource.ios if s.name == part)
    return found.ios[0].names[0], dict(resource.attrs)
