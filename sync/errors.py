"""Every error that a request can end in, as one tree.

    SyncError
    |- BadRequest                  400  the request itself cannot be understood
    |  |- BodyMalformed            body_malformed
    |  |- KeyRequired              idempotency_key_required
    |  |- KeyInvalid               idempotency_key_invalid
    |  |- ParameterInvalid         parameter_invalid
    |  `- CursorInvalid            cursor_invalid
    |- LimitExceeded          413  limit_exceeded
    |- EncodingUnsupported    415  content_encoding_unsupported
    |- RequestInFlight        409  request_in_flight          retry: the same request again
    |- KeyReused              422  idempotency_key_reused
    |- ReceiptMissing         404  receipt_not_found
    |- ReviewForbidden        403  review_forbidden
    |- QuarantineMissing      404  quarantine_not_found
    |- QuarantineSettled      409  quarantine_settled
    |- QuarantineRefused  409/422  quarantine_refused         the engine refused it again
    |- CursorGone             410  the cursor is of no use any more: pull afresh, keep the outbox
    |  |- CursorExpired            cursor_expired
    |  `- EpochChanged             epoch_changed
    |- AppTooOld              426  app_version_too_old        push what there is, update the app
    |- Unavailable            503  temporarily_unavailable    retry: the same request again
    |- TooManyWaiting         503  too_many_waiting           retry: later
    |- EditRefused             409  edit_refused               an office write was refused
    |- RowRefused              4xx  the code of the refusal    one row was refused
    |- PreconditionFailed, PreconditionRequired    412, 428    it is of another version; which?
    `- BypassesFeed                programming error: a write that the feed would not hear of

A refused mutation is no error but an outcome (`types.Outcome`). `docs/errors.md` lists the codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sync.types import Outcome, ParkedState, Result, Wire


class SyncError(Exception):
    """The root; leaves have a stable `code`, an HTTP `status`, and say whether a retry helps."""

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    retryable: ClassVar[bool] = False
    retry_after_s: ClassVar[int | None] = None

    @property
    def members(self) -> dict[str, Any]:
        """Further members of the problem document."""
        return {}


class BadRequest(SyncError):
    """The request cannot be understood; nothing was done."""

    status = 400


class BodyMalformed(BadRequest):
    """The body is not the JSON that the endpoint takes; `path` says where, if known."""

    code = "body_malformed"
    title = "The body cannot be read"


class KeyRequired(BadRequest):
    """A push came without an `Idempotency-Key`."""

    code = "idempotency_key_required"
    title = "Idempotency-Key is required"

    def __init__(self) -> None:
        super().__init__("Send an Idempotency-Key header; repeat it when you repeat the request.")


class KeyInvalid(BadRequest):
    """The `Idempotency-Key` is empty, too long, or has characters that a header cannot carry."""

    code = "idempotency_key_invalid"
    title = "Idempotency-Key is malformed"

    def __init__(self, chars_max: int) -> None:
        super().__init__(f"Use 1 to {chars_max} visible ASCII characters, for example a UUID.")


class ParameterInvalid(BadRequest):
    """A query parameter has a value that the endpoint does not take."""

    code = "parameter_invalid"
    title = "A query parameter is invalid"

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.errors = [{"path": name, "code": "invalid", "detail": detail, "args": {}}]

    @property
    def members(self) -> dict[str, Any]:
        """The parameter, as a field error."""
        return {"errors": self.errors}


class CursorInvalid(BadRequest):
    """The cursor was not made by this server for this tenant."""

    code = "cursor_invalid"
    title = "The cursor is not one of ours"

    def __init__(self) -> None:
        super().__init__("Send a cursor exactly as an earlier pull answered it, or none.")


class LimitExceeded(SyncError):
    """The request is larger than a published limit."""

    code = "limit_exceeded"
    status = 413
    title = "The request is too large"

    def __init__(self, limit: str, maximum: int) -> None:
        super().__init__(f"The limit {limit} is {maximum}. Send a smaller batch.")
        self.limit = limit
        self.maximum = maximum

    @property
    def members(self) -> dict[str, Any]:
        """The name of the limit, as `GET /sync/limits` has it, and its value."""
        return {"limit": self.limit, "maximum": self.maximum}


class EncodingUnsupported(SyncError):
    """The body has a `Content-Encoding` that the server does not know."""

    code = "content_encoding_unsupported"
    status = 415
    title = "The content encoding is not supported"

    def __init__(self, encoding: str, taken: Sequence[str]) -> None:
        names = " or ".join(taken)
        super().__init__(f"{encoding!r} is not supported; send {names}, or no Content-Encoding.")
        self.taken = tuple(taken)

    @property
    def members(self) -> dict[str, Any]:
        """The encodings that are taken, as `GET /sync/limits` has them."""
        return {"content_encodings": list(self.taken)}


class RequestInFlight(SyncError):
    """The same key is being carried out by another request right now."""

    code = "request_in_flight"
    status = 409
    title = "The same request is still running"
    retryable = True
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("Repeat the same request with the same key in a moment.")


class KeyReused(SyncError):
    """The key was used before, with other bytes."""

    code = "idempotency_key_reused"
    status = 422
    title = "The Idempotency-Key belongs to another request"

    def __init__(self) -> None:
        super().__init__("Nothing was done. Use a new key for a new request.")


class ReceiptMissing(SyncError):
    """No receipt is kept for that key."""

    code = "receipt_not_found"
    status = 404
    title = "No receipt for that key"

    def __init__(self) -> None:
        super().__init__("No push with that key was carried out here, or its receipt expired.")


class ReviewForbidden(SyncError):
    """The actor may not see or settle what is in quarantine."""

    code = "review_forbidden"
    status = 403
    title = "You are no reviewer"

    def __init__(self) -> None:
        super().__init__("Your role may not see or settle what is in quarantine.")


class QuarantineMissing(SyncError):
    """Nothing with that id is in quarantine, or nothing that this reviewer may see."""

    code = "quarantine_not_found"
    status = 404
    title = "No such parked mutation"

    def __init__(self) -> None:
        super().__init__("Nothing with that id is in quarantine, or nothing that you may see.")


class QuarantineSettled(SyncError):
    """Somebody has applied or discarded it before; `state` says which."""

    code = "quarantine_settled"
    status = 409
    title = "The parked mutation is settled"

    def __init__(self, state: ParkedState) -> None:
        super().__init__(f"It was {state} before; nothing was done now.")
        self.state = state

    @property
    def members(self) -> dict[str, Any]:
        """The state that it is in."""
        return {"state": self.state}


class QuarantineRefused(SyncError):
    """The engine refused what the reviewer wanted applied; it stays open. 409 for a conflict."""

    code = "quarantine_refused"
    status = 409
    title = "The parked mutation was refused again"

    def __init__(self, result: Result, line: Wire) -> None:
        super().__init__(_reason(result))
        self.status = 409 if result.outcome is Outcome.CONFLICT else 422  # type: ignore[misc]  # of this one
        self.line = line

    @property
    def members(self) -> dict[str, Any]:
        """The result, as a push would report it."""
        return {"result": self.line}


class CursorGone(SyncError):
    """The cursor cannot be continued without holes: forget it, keep the outbox, pull afresh."""

    status = 410


class CursorExpired(CursorGone):
    """The cursor is older than the tombstones that are still kept."""

    code = "cursor_expired"
    title = "The cursor is too old"

    def __init__(self) -> None:
        super().__init__("Forget the cursor, keep the outbox, and pull afresh.")


class EpochChanged(CursorGone):
    """The feed's history is another one: the database was restored."""

    code = "epoch_changed"
    title = "The server's history changed"

    def __init__(self) -> None:
        super().__init__("The database was restored. Keep the outbox, and pull afresh.")


class AppTooOld(SyncError):
    """The app is older than the tenant takes. It may push what it has, and must be updated."""

    code = "app_version_too_old"
    status = 426
    title = "The app is too old"

    def __init__(self, minimum: str) -> None:
        super().__init__(f"Push what is not sent yet, then update to {minimum} or later.")
        self.minimum = minimum

    @property
    def members(self) -> dict[str, Any]:
        """The version that will do."""
        return {"minimum": self.minimum}


class Unavailable(SyncError):
    """The database refused for a reason that passes; nothing was done, or the key knows."""

    code = "temporarily_unavailable"
    status = 503
    title = "Try again in a moment"
    retryable = True
    retry_after_s = 2

    def __init__(self) -> None:
        super().__init__("Repeat the same request with the same key.")


class TooManyWaiting(SyncError):
    """The process has no place for another stream or held pull."""

    code = "too_many_waiting"
    status = 503
    title = "Too many devices are waiting here"
    retryable = True
    retry_after_s = 15

    def __init__(self) -> None:
        super().__init__("Pull without waiting; ask again later.")


class EditRefused(SyncError):
    """An office write was refused as a whole; `results` are the refused mutations' results."""

    code = "edit_refused"
    status = 409
    title = "The edit was refused"

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = tuple(results)
        super().__init__("; ".join(_reason(result) for result in self.results[:5]))


def _reason(result: Result) -> str:
    refusal = result.refusal
    if refusal is None:
        return ""
    wrong = ", ".join(f"{error.path}: {error.detail}" for error in refusal.errors)
    row = f"{result.mutation.collection}/{result.mutation.id}"
    return f"{row} {result.outcome}: {wrong or refusal.detail}"


class BypassesFeed(SyncError, TypeError):
    """Code tried to write synced rows in a way that no device would hear of, or could follow.

    `what` is the write, `why` what it would do, `instead` how it is written rightly.
    """

    code = "bypasses_feed"
    status = 500
    title = "The write would bypass the change feed"

    def __init__(
        self,
        what: str,
        instead: str,
        why: str = "would bypass the change feed: no device would see it",
    ) -> None:
        super().__init__(f"{what} {why}. {instead}")


class NeedsCare(Exception):
    """A push that was carried out in the hope that all is well met a row that is not.

    Nobody outside of `transactions` sees it: the push is carried out again, with care.
    """
