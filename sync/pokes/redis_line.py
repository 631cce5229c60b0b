"""Pokes on Redis or Valkey: PUBLISH and SUBSCRIBE; nothing is stored there.

Neither connecting nor an answer is waited for longer than a second, and nothing is tried twice: a
poke that is late is worth no more than the next look at the database.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sync.pokes.line import PROVE_S, SILENCE_S, LineDown

ANSWER_S_MAX = 1.0


class RedisLine:
    """A client of its own: the project's cache may be set up quite differently."""

    def __init__(self, url: str, channel: str) -> None:
        self._channel = channel
        self._client: Any = redis.Redis.from_url(
            url,
            socket_connect_timeout=ANSWER_S_MAX,
            socket_timeout=ANSWER_S_MAX,
            retry=Retry(NoBackoff(), 0),
        )

    def publish(self, messages: Sequence[bytes]) -> None:
        """Send all in one round trip."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.publish(self._channel, message)
                pipeline.execute()
        except (redis.RedisError, OSError) as error:
            raise LineDown from error

    def listen(self) -> Iterator[bytes | None]:
        """Subscribe, and yield what comes; an end that does not answer a PING is gone."""
        try:
            with self._client.pubsub() as pubsub:
                pubsub.subscribe(self._channel)
                yield from _read(pubsub)
        except (redis.RedisError, OSError) as error:
            raise LineDown from error

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _read(pubsub: Any) -> Iterator[bytes | None]:
    """Yield messages; the server's word that we are subscribed is the first None."""
    heard_at, is_asked = time.monotonic(), False
    while True:
        message = pubsub.get_message(timeout=SILENCE_S)
        if message is not None:
            heard_at, is_asked = time.monotonic(), False
            yield message["data"] if message["type"] == "message" else None
            continue
        silent_s = time.monotonic() - heard_at
        if silent_s > PROVE_S + ANSWER_S_MAX and is_asked:
            raise LineDown
        if silent_s > PROVE_S and not is_asked:
            pubsub.ping()
            is_asked = True
        yield None
