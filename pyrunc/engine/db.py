"""The database: one SQLite file, in WAL mode, which several processes may have open.

A row holds a JSON document, and in columns only what is looked up or must be unique. What belongs together is
written in one transaction, so a process that is killed leaves the state before or after.
`synchronous=NORMAL`: after a power failure the last transactions may be missing, but none is half there.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager

from pyrunc import jsonio
from pyrunc.errors import CONFLICT, INTERNAL, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_BUSY_SECONDS = 30.0
_EVENTS_KEPT = 1000

# One entry per version: what brings a database of the version before to it
MIGRATIONS = (
    """
    CREATE TABLE containers
        (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE volumes (name TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE networks
        (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE endpoints (network TEXT NOT NULL, container TEXT NOT NULL, document TEXT NOT NULL,
                            PRIMARY KEY (network, container)) WITHOUT ROWID;
    CREATE TABLE events (sequence INTEGER PRIMARY KEY, document TEXT NOT NULL);
    """,
)


class Database:
    """One connection, which threads take in turn: a transaction is short, and nothing else is done within."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._migrate(path)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _migrate(self, path: str) -> None:
        with self.transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise PyruncError(
                    INTERNAL,
                    "the database is of a newer version of pyrunc",
                    path,
                    f"version {version}, and this one knows {len(MIGRATIONS)}",
                )
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is done within, or nothing. May be nested. No other process writes meanwhile, so what
        was read within still holds."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                if self._depth == 1:
                    self._connection.execute("ROLLBACK")
                raise
            else:
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            finally:
                self._depth -= 1

    def rows(self, table: str, **where: str) -> list[dict[str, Any]]:
        """Documents of `table`, all or those whose columns have these values."""
        clause = " AND ".join(f"{column} = ?" for column in where)
        query = f"SELECT document FROM {table}" + (f" WHERE {clause}" if clause else "")
        with self._lock:
            found = self._connection.execute(query, tuple(where.values())).fetchall()
        return [jsonio.loads(text.encode(), f"{table} in the database") for (text,) in found]

    def row(self, table: str, **where: str) -> dict[str, Any] | None:
        found = self.rows(table, **where)
        return found[0] if found else None

    def keys_beginning(self, table: str, column: str, prefix: str) -> list[str]:
        """At most two: one is an answer, two are a question."""
        with self._lock:
            found = self._connection.execute(
                f"SELECT {column} FROM {table} WHERE substr({column}, 1, ?) = ? LIMIT 2",
                (len(prefix), prefix),
            ).fetchall()
        return [key for (key,) in found]

    def insert(self, table: str, document: dict[str, Any], **columns: str) -> None:
        """Raises PyruncError CONFLICT if a row has one of these already."""
        names = ", ".join((*columns, "document"))
        marks = ", ".join("?" * (len(columns) + 1))
        try:
            with self._lock:
                self._connection.execute(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})",
                    (*columns.values(), jsonio.dumps(document)),
                )
        except sqlite3.IntegrityError as error:
            raise PyruncError(CONFLICT, f"one of {table} exists already", "", str(error)) from error

    def put(self, table: str, document: dict[str, Any], **columns: str) -> None:
        """Insert, or replace the row with the same first column or columns."""
        names = ", ".join((*columns, "document"))
        marks = ", ".join("?" * (len(columns) + 1))
        with self._lock:
            self._connection.execute(
                f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})",
                (*columns.values(), jsonio.dumps(document)),
            )

    def update(self, table: str, document: dict[str, Any], **where: str) -> bool:
        """Whether there was such a row."""
        clause = " AND ".join(f"{column} = ?" for column in where)
        with self._lock:
            done = self._connection.execute(
                f"UPDATE {table} SET document = ? WHERE {clause}", (jsonio.dumps(document), *where.values())
            )
        return done.rowcount > 0

    def rename(self, table: str, old: str, new: str) -> None:
        """Raises PyruncError CONFLICT if the name is taken."""
        try:
            with self._lock:
                self._connection.execute(f"UPDATE {table} SET name = ? WHERE name = ?", (new, old))
        except sqlite3.IntegrityError as error:
            raise PyruncError(CONFLICT, f"one of {table} exists already", new, str(error)) from error

    def delete(self, table: str, **where: str) -> bool:
        clause = " AND ".join(f"{column} = ?" for column in where)
        with self._lock:
            done = self._connection.execute(f"DELETE FROM {table} WHERE {clause}", tuple(where.values()))
        return done.rowcount > 0

    def append_event(self, document: dict[str, Any]) -> None:
        """The last thousand are kept."""
        with self.transaction():
            added = self._connection.execute(
                "INSERT INTO events (document) VALUES (?)", (jsonio.dumps(document),)
            )
            self._connection.execute(
                "DELETE FROM events WHERE sequence <= ?", ((added.lastrowid or 0) - _EVENTS_KEPT,)
            )
