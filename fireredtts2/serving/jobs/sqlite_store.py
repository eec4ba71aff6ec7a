"""Jobs in a SQLite file: for one server."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fireredtts2.serving.jobs.job import Change, Job, JobEvent, JobState, changed
from fireredtts2.serving.jobs.store import TooManyJobsError

BUSY_TIMEOUT_S = 10.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, created_at);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created_at);
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (job, id)
) WITHOUT ROWID;
"""


class SqliteStore:
    """A `JobStore` in a file.

    Args:
        path: the file; made where it is not there.

    Raises:
        ValueError: it is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: not a store of jobs ({error})") from None

    def add(self, job: Job, max_of_owner: int) -> None:
        with self._transaction() as database:
            query = "SELECT COUNT(*) FROM jobs WHERE owner = ?"
            (number,) = database.execute(query, (job.owner,)).fetchone()
            if number >= max_of_owner:
                raise TooManyJobsError(f"{number} jobs are kept, which is as many as may be")
            row = (job.id, job.owner, job.state, job.created_at, job.to_json())
            database.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?)", row)
            self._tell(database, job)

    def get(self, id: str) -> Job | None:
        with self._lock:
            return self._get(self._connection, id)

    def find(self, owner: str | None = None, states: Sequence[JobState] | None = None) -> list[Job]:
        wanted, values = ["1"], []
        if owner is not None:
            wanted.append("owner = ?")
            values.append(owner)
        if states is not None:
            wanted.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        query = f"SELECT body FROM jobs WHERE {' AND '.join(wanted)} ORDER BY created_at, id"
        with self._lock:
            rows = self._connection.execute(query, values).fetchall()
        return [Job.from_json(body) for (body,) in rows]

    def change(self, id: str, change: Change) -> Job | None:
        with self._transaction() as database:
            before = self._get(database, id)
            if before is None:
                return None
            after, is_told = changed(before, change, time.time())
            if after is None:
                return None
            row = (after.state, after.to_json(), id)
            database.execute("UPDATE jobs SET state = ?, body = ? WHERE id = ?", row)
            if is_told:
                self._tell(database, after)
            return after

    def delete(self, id: str) -> bool:
        with self._transaction() as database:
            database.execute("DELETE FROM events WHERE job = ?", (id,))
            return database.execute("DELETE FROM jobs WHERE id = ?", (id,)).rowcount > 0

    def events(self, id: str, after: int = 0) -> list[JobEvent]:
        query = "SELECT id, body FROM events WHERE job = ? AND id > ? ORDER BY id"
        with self._lock:
            rows = self._connection.execute(query, (id, after)).fetchall()
        return [JobEvent(number, json.loads(body)) for number, body in rows]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # an error may have ended it
                    self._connection.execute("ROLLBACK")
                raise

    @staticmethod
    def _get(database: sqlite3.Connection, id: str) -> Job | None:
        row = database.execute("SELECT body FROM jobs WHERE id = ?", (id,)).fetchone()
        return None if row is None else Job.from_json(row[0])

    @staticmethod
    def _tell(database: sqlite3.Connection, job: Job) -> None:
        row = (job.id, job.version, json.dumps(job.public()))
        database.execute("INSERT INTO events VALUES (?, ?, ?)", row)
