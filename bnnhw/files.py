"""Writing files whole or not at all, what files hold, and the folder for what can be made again."""

import hashlib
import os
import tempfile
from pathlib import Path

__all__ = ["atomic_write", "cache_dir", "sha256_of"]


def atomic_write(path, data):
    """Write ``data`` (str or bytes) to ``path`` so that a reader sees the old file or the new one, never a part.

    The bytes go to a temporary file in the same folder, which then takes the name. Parent folders are made.
    Raises :exc:`OSError`, which names ``path`` or a folder above it, where it cannot be written; nothing is left behind then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, str):
        data = data.encode()
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException as error:
        if name:
            Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None       # not the temporary file, which nobody asked for
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cache_dir(*parts):
    """Folder ``parts`` below ``$BNNHW_CACHE``, else ``$XDG_CACHE_HOME/bnnhw``, else ``~/.cache/bnnhw``; made if missing."""
    base = os.environ.get("BNNHW_CACHE")
    if not base:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnnhw"
    folder = Path(base, *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sha256_of(folders, kinds):
    """SHA-256 (hex) of the names and contents of all files in ``folders`` (paths), however deep, that match one of ``kinds``
    (patterns such as ``*.py``)."""
    digest = hashlib.sha256()
    for file in sorted(file for folder in folders for kind in kinds for file in Path(folder).rglob(kind)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
