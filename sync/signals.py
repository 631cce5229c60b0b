"""What a project may listen to: the engine's own Django signals, sent when all is done.

    push_answered   actor, answer     a push, or an edit of one row, has its answer
    pull_answered   actor, seq        a pull told all there is, up to this seq

A receiver that fails is logged, and changes nothing of what was done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.dispatch import Signal

if TYPE_CHECKING:
    from sync.receipts import Answer
    from sync.types import Actor

push_answered = Signal()
pull_answered = Signal()


def tell_push_answered(actor: Actor, answer: Answer) -> None:
    """Tell whoever listens."""
    push_answered.send_robust(sender=None, actor=actor, answer=answer)


def tell_pull_answered(actor: Actor, seq: int) -> None:
    """Tell whoever listens."""
    pull_answered.send_robust(sender=None, actor=actor, seq=seq)
