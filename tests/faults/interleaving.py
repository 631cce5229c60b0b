"""Interleavings: several connections, one step at a time, in every order there is.

    actor ──runs to its next stop──> failpoint      [the scheduler chooses whose turn it is]
          `── waits for a lock of another's: not its turn until that one has gone on

Stateless search: a run follows a list of choices, and goes on with whoever has the turn behind its
end; the next run differs in the last choice that had an alternative. So all schedules come, once
each, in which an actor who could go on is interrupted at most so many times: races need one or
two. Source: Musuvathi and Qadeer, "Iterative context bounding", PLDI 2007.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from django.db import connection

from sync.failpoints import Point
from sync.testing.failpoints import at

BLOCKED: Final = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
LOOK_S: Final = 0.001
LOOKS_MAX: Final = 20_000
POINTS: Final = (Point.CLAIMED, Point.LOCKED, Point.APPLIED, Point.LOGGED)

Work = Callable[[], Any]


class Stuck(AssertionError):
    """Every actor waits for another one, or one never came to its next stop."""


class Actor:
    """A thread with a connection of its own, that carries out one work after the other."""

    def __init__(self) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_over = True
        self._todo: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._may_go = threading.Semaphore(0)
        self._stands = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def begin(self, work: Work) -> None:
        """Take on a work; nothing of it is done before the first `step`."""
        self.result = self.error = None
        self.is_over = False
        self._stands.clear()
        self._todo.put(work)
        self._stands.wait()

    def step(self) -> None:
        """Go on to the next stop, or to the end."""
        self._stands.clear()
        self._may_go.release()

    def stands(self) -> bool:
        """Whether it has come to a stop, or to its end."""
        return self._stands.wait(LOOK_S)

    def stop(self) -> None:
        """Stand still until it may go on; called in the actor's own thread."""
        self._stands.set()
        self._may_go.acquire()

    def close(self) -> None:
        """End the thread."""
        self._todo.put(None)
        self._thread.join()

    def _run(self) -> None:
        _current.actor = self
        connection.ensure_connection()
        self.process_id = connection.connection.info.backend_pid
        self._ready.set()
        try:
            while (work := self._todo.get()) is not None:
                self.stop()
                try:
                    self.result = work()
                except BaseException as error:  # told to whoever looks at it
                    self.error = error
                self.is_over = True
                self._stands.set()
        finally:
            connection.close()


_current = threading.local()


def stop_here() -> None:
    """Stop the actor whose thread this is; all others pass."""
    actor = getattr(_current, "actor", None)
    if actor is not None:
        actor.stop()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Whose turn it was, of all whose it could have been, whoever had the last one first."""

    who: int
    options: list[int]
    would_interrupt: bool  # another one than the first would

    @property
    def is_interruption(self) -> bool:
        """Whether somebody who could go on was interrupted."""
        return self.would_interrupt and self.who != self.options[0]


class Driver:
    """Some actors, and the schedules of what they are given to do."""

    def __init__(self, actors: int) -> None:
        self._actors = [Actor() for _ in range(actors)]

    def schedules(
        self, begin: Callable[[], Sequence[Work]], *, interruptions: int
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Run what `begin` gives, in every order; yield each schedule with the results.

        `begin` is called for each schedule, and gives each actor its work.
        """
        choices: list[int] = []
        while True:  # ends: each schedule comes once, and there are finitely many
            taken, results = self._run(begin(), choices)
            yield [turn.who for turn in taken], results
            while taken:
                turn = taken.pop()
                others = turn.options[turn.options.index(turn.who) + 1 :]
                so_far = sum(each.is_interruption for each in taken)
                if others and so_far + turn.would_interrupt <= interruptions:
                    choices = [*(each.who for each in taken), others[0]]
                    break
            else:
                return

    def close(self) -> None:
        """End all actors."""
        for actor in self._actors:
            actor.close()

    def _run(self, works: Sequence[Work], choices: Sequence[int]) -> tuple[list[Turn], list[Any]]:
        actors = self._actors[: len(works)]
        for actor, work in zip(actors, works, strict=True):
            actor.begin(work)
        taken: list[Turn] = []
        waiting: set[int] = set()
        while not all(actor.is_over for actor in actors):
            last = taken[-1].who if taken else -1
            enabled = [n for n, a in enumerate(actors) if not a.is_over and n not in waiting]
            if not enabled:  # a circle: PostgreSQL ends it, by an error for one of them
                waiting -= {self._first_to_come(actors, waiting)}
                continue
            options = sorted(enabled, key=lambda n: n != last)  # whoever has the turn comes first
            at = len(taken)
            who = choices[at] if at < len(choices) and choices[at] in options else options[0]
            taken.append(Turn(who=who, options=options, would_interrupt=options[0] == last))
            actors[who].step()
            waiting = {n for n in {*waiting, who} if not self._comes_to_a_stop(actors[n])}
        return taken, [actor.error or actor.result for actor in actors]

    @staticmethod
    def _first_to_come(actors: Sequence[Actor], waiting: set[int]) -> int:
        for _ in range(LOOKS_MAX):
            for who in waiting:
                if actors[who].stands():
                    return who
        raise Stuck("each waits for another one")

    def _comes_to_a_stop(self, actor: Actor) -> bool:
        """Wait until it stands, or waits for somebody else's lock; whether it stands."""
        for _ in range(LOOKS_MAX):
            if actor.stands():
                return True
            with connection.cursor() as cursor:
                cursor.execute(BLOCKED, [actor.process_id])
                ((is_blocked,),) = cursor.fetchall()
            if is_blocked and not actor.stands():
                return False
        raise Stuck("it neither waits nor comes")


@contextmanager
def driver(actors: int) -> Iterator[Driver]:
    """Have that many actors, who stop at each of `POINTS`."""
    with ExitStack() as cleanup:
        for point in POINTS:
            cleanup.enter_context(at(point, stop_here))
        found = Driver(actors)
        cleanup.callback(found.close)
        yield found
