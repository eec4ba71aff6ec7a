"""Jobs in Redis: for several servers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import redis

from fireredtts2.serving.jobs.job import OPEN, Change, Job, JobEvent, JobState, changed
from fireredtts2.serving.jobs.store import TooManyJobsError

TIMEOUT_S = 10.0


class RedisStore:
    """A `JobStore` in Redis.

    Keys: a string a job, a list of its events, a sorted set of all jobs by age, one of the open
    ones, and one of each owner's. What is changed is watched while it is read, so that of two who
    change the same job the second begins again.

    Args:
        url: `redis://...`.
        prefix: of every key.

    Raises:
        redis.RedisError: it does not answer.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self._redis.ping()
        # NOTE: braces: in a cluster all keys of one transaction must lie in one place.
        self._prefix = f"{{{prefix}}}"

    def add(self, job: Job, max_of_owner: int) -> None:
        def write(pipe: Any) -> None:
            number = pipe.zcard(self._owned(job.owner))
            if number >= max_of_owner:
                raise TooManyJobsError(f"{number} jobs are kept, which is as many as may be")
            pipe.multi()
            self._write(pipe, job, is_told=True)
            for key in (self._all, self._owned(job.owner)):
                pipe.zadd(key, {job.id: job.created_at})

        self._redis.transaction(write, self._owned(job.owner))

    def get(self, id: str) -> Job | None:
        body = self._redis.get(self._job(id))
        return None if body is None else Job.from_json(body)

    def find(self, owner: str | None = None, states: Sequence[JobState] | None = None) -> list[Job]:
        is_open = owner is None and states is not None and set(states) <= set(OPEN)
        index = self._open if is_open else self._all if owner is None else self._owned(owner)
        ids = [id.decode() for id in self._redis.zrange(index, 0, -1)]
        bodies = self._redis.mget([self._job(id) for id in ids]) if ids else []
        jobs = [Job.from_json(body) for body in bodies if body is not None]
        return [job for job in jobs if states is None or job.state in states]

    def change(self, id: str, change: Change) -> Job | None:
        def write(pipe: Any) -> Job | None:
            body = pipe.get(self._job(id))
            pipe.multi()
            if body is None:
                return None
            after, is_told = changed(Job.from_json(body), change, time.time())
            if after is not None:
                self._write(pipe, after, is_told)
            return after

        made: Job | None = self._redis.transaction(write, self._job(id), value_from_callable=True)
        return made

    def delete(self, id: str) -> bool:
        def write(pipe: Any) -> bool:
            body = pipe.get(self._job(id))
            pipe.multi()
            if body is None:
                return False
            pipe.delete(self._job(id), self._events(id))
            for key in (self._all, self._open, self._owned(Job.from_json(body).owner)):
                pipe.zrem(key, id)
            return True

        return bool(self._redis.transaction(write, self._job(id), value_from_callable=True))

    def events(self, id: str, after: int = 0) -> list[JobEvent]:
        bodies = self._redis.lrange(self._events(id), after, -1)
        return [JobEvent(after + 1 + n, json.loads(body)) for n, body in enumerate(bodies)]

    def close(self) -> None:
        self._redis.close()

    def _write(self, pipe: Any, job: Job, is_told: bool) -> None:
        pipe.set(self._job(job.id), job.to_json())
        if job.is_open:
            pipe.zadd(self._open, {job.id: job.created_at})
        else:
            pipe.zrem(self._open, job.id)
        if is_told:
            pipe.rpush(self._events(job.id), json.dumps(job.public()))

    @property
    def _all(self) -> str:
        return f"{self._prefix}:all"

    @property
    def _open(self) -> str:
        return f"{self._prefix}:open"

    def _owned(self, owner: str) -> str:
        return f"{self._prefix}:owner:{owner}"

    def _job(self, id: str) -> str:
        return f"{self._prefix}:job:{id}"

    def _events(self, id: str) -> str:
        return f"{self._prefix}:events:{id}"
