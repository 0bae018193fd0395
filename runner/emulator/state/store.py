"""A durable document store: key -> JSON in one SQLite file. What was written survives a kill -9.

Documents that are read are copies: a change counts only when it is written back (``put`` or ``edit``).
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.system.files import open_private

Document = dict[str, Any]

AFTER_LAST = "\U0010ffff"


class Store:
    """Keys are paths such as ``projects/p/zones/z/instances/n``; listing by prefix is in key order."""

    def __init__(self, file: Path) -> None:
        open_private(file).close()  # SQLite gives the files beside it the same mode
        self._lock = threading.RLock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS docs (key TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID"
        )
        self._last_id = 0

    def close(self) -> None:
        self._database.close()

    def get(self, key: str) -> Document | None:
        with self._lock:
            row = self._database.execute("SELECT doc FROM docs WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, document: Document) -> None:
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO docs VALUES (?, ?)", (key, json.dumps(document)))

    def delete(self, key: str) -> None:
        """Delete a document; no error if there is none."""
        with self._lock:
            self._database.execute("DELETE FROM docs WHERE key = ?", (key,))

    def items(self, prefix: str) -> list[tuple[str, Document]]:
        with self._lock:
            rows = self._database.execute(
                "SELECT key, doc FROM docs WHERE key >= ? AND key < ? ORDER BY key", (prefix, prefix + AFTER_LAST)
            ).fetchall()
        return [(key, json.loads(text)) for key, text in rows]

    @contextmanager
    def edit(self, key: str) -> Iterator[Document]:
        """Change a document in place, starting from an empty one if there is none; nothing is written on an error."""
        document = self.get(key) or {}
        yield document
        self.put(key, document)

    def next_id(self) -> str:
        """Return a number of 19 digits, like Google's IDs. Numbers grow, across restarts too."""
        with self._lock:
            self._last_id = max(self._last_id + 1, time.time_ns())
            return str(self._last_id)

    def clear(self) -> None:
        """Delete all documents."""
        with self._lock:
            self._database.execute("DELETE FROM docs")
