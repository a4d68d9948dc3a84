"""Results in one SQLite file: one row per job, whatever happens."""

import contextlib
import json
import sqlite3
from pathlib import Path

from ..errors import UserError

__all__ = ["COLUMNS", "Store", "StoreError"]

FORMAT = 1              # PRAGMA user_version
PATIENCE_S = 60         # for another process that writes
# Of a job; of its result.
JOB = {"key": "TEXT PRIMARY KEY", "name": "TEXT NOT NULL", "network_sha256": "TEXT NOT NULL", "board": "TEXT NOT NULL",
       "fps": "", "clock": "", "scores": "INTEGER NOT NULL", "verify": "INTEGER NOT NULL", "made_by": "TEXT NOT NULL"}
RESULT = {
    "status": "TEXT NOT NULL CHECK (status IN ('done', 'refused', 'failed'))", "reason": "TEXT", "device": "TEXT",
    "clock_hz": "REAL", "images_per_s": "REAL", "link_images_per_s": "REAL", "cycles": "INTEGER", "latency_s": "REAL",
    "cells": "INTEGER", "cells_limit": "INTEGER", "ffs": "INTEGER", "brams": "INTEGER", "brams_limit": "INTEGER",
    "fmax_hz": "REAL", "right": "INTEGER", "estimated_cells": "INTEGER", "estimated_brams": "INTEGER",
    "estimated_fmax_hz": "REAL", "seconds": "REAL NOT NULL", "worker": "TEXT NOT NULL", "finished": "TEXT NOT NULL",
    "report": "TEXT"}
COLUMNS = (*JOB, *RESULT)
QUOTED = [f'"{name}"' for name in COLUMNS]


class StoreError(UserError):
    """A file that is no store, or cannot be one; the message names it."""


class Store:
    """A SQLite file with the table ``jobs``: the columns :data:`COLUMNS`, one row per key.

    Each row is written at once and for good: a process that is killed leaves all rows that it had. Several processes may have
    the file open.

    Parameters
    ----------
    path : path
        Made if missing.

    Raises
    ------
    StoreError
    """
    def __init__(self, path):
        self.path = Path(path)
        try:
            self._db = sqlite3.connect(self.path, timeout=PATIENCE_S, isolation_level=None)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from None
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self):
        with self._complained():
            self._db.row_factory = sqlite3.Row
            found, = self._db.execute("PRAGMA user_version").fetchone()
            tables = {name for name, in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if found > FORMAT:
                raise StoreError(f"{self.path}: it has format {found}, and this bnnhw knows formats up to {FORMAT}")
            if not found and tables:
                raise StoreError(f"{self.path}: it is a SQLite file, but not one of `bnnhw explore`")
            if not found:
                columns = ", ".join(f'"{name}" {kind}' for name, kind in (JOB | RESULT).items())
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute(f"CREATE TABLE IF NOT EXISTS jobs ({columns})")
                self._db.execute(f"PRAGMA user_version = {FORMAT}")
                self._db.execute("COMMIT")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._db.close()

    @contextlib.contextmanager
    def _complained(self):
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None

    def finished(self):
        """Keys of the jobs that need not be done again: all but those that failed."""
        with self._complained():
            return {key for key, in self._db.execute("SELECT key FROM jobs WHERE status != 'failed'")}

    def add(self, job, result):
        """Write the row of a job, ``result`` being what :func:`~bnnhw.exploring.worker.perform` gave.

        A job that has a row keeps it, but for one that failed, which is replaced.
        """
        row = {"key": job.key, "name": job.name, "network_sha256": job.network_sha256, "board": job.board, "fps": job.fps,
               "clock": job.clock, "scores": job.scores, "verify": job.verify,
               "made_by": json.dumps(job.made_by, sort_keys=True)} | result
        new = ", ".join(f"{name} = excluded.{name}" for name in QUOTED[1:])
        with self._complained():
            self._db.execute(f"INSERT INTO jobs ({', '.join(QUOTED)}) VALUES ({', '.join('?' * len(QUOTED))}) "
                             f"ON CONFLICT (key) DO UPDATE SET {new} WHERE status = 'failed'",
                             [row.get(name) for name in COLUMNS])

    def rows(self):
        """All rows as dicts, by network, board, and from slow to fast."""
        with self._complained():
            return [dict(row) for row in self._db.execute("SELECT * FROM jobs ORDER BY name, board, images_per_s, key")]
