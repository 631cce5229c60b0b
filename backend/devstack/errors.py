"""What can go wrong on the way to a running stack; each message says what to do about it.

DevstackError
├── ServiceMissing     no program for a service, with every way to give one
├── StartFailed        a program was there and did not come up, with the end of its log
├── CommandFailed      a preparing command (migrations, demo data) ended with an error
├── PortTaken          somebody else listens on the port that was asked for
└── FolderUnreachable  the account that must run PostgreSQL cannot enter the folder
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class DevstackError(Exception):
    """Base of the errors that a person at the keyboard can do something about."""


class ServiceMissing(DevstackError):
    """No usable program was found for a service.

    Args:
        service: what was looked for, as a person calls it.
        tried: why each place that was looked at would not do.
        ways: one line for each way to give the program.
    """

    def __init__(self, *, service: str, tried: Sequence[str], ways: Sequence[str]) -> None:
        self.service = service
        lines = [f"no usable {service} was found. Looked at:"]
        lines += [f"  - {line}" for line in tried]
        lines += ["Any one of these helps:"]
        lines += [f"  - {line}" for line in ways]
        super().__init__("\n".join(lines))


class StartFailed(DevstackError):
    """A child ended, or did not answer in time; `log_tail` is the end of what it said."""

    def __init__(self, *, name: str, reason: str, log_tail: str) -> None:
        self.name = name
        self.log_tail = log_tail
        said = log_tail.strip() or "(it said nothing)"
        super().__init__(f"{name} did not start: {reason}. The end of its log:\n{said}")


class CommandFailed(DevstackError):
    """A command that prepares the stack ended with `status`."""

    def __init__(self, *, name: str, status: int, log_tail: str) -> None:
        self.name = name
        self.status = status
        said = log_tail.strip() or "(it said nothing)"
        super().__init__(f"{name} ended with status {status}. The end of its output:\n{said}")


class PortTaken(DevstackError):
    """Another program listens on `port`."""

    def __init__(self, *, host: str, port: int) -> None:
        self.port = port
        super().__init__(
            f"port {port} on {host} is taken by another program. "
            f"Choose another: make serve PORT={port + 1}, or --port {port + 1}; 0 means any."
        )


class FolderUnreachable(DevstackError):
    """`account` cannot enter `folder`, and PostgreSQL refuses to run as root."""

    def __init__(self, *, folder: Path, account: str) -> None:
        self.folder = folder
        super().__init__(
            f"PostgreSQL does not run as root, so it runs as '{account}', "
            f"and '{account}' cannot enter {folder}. Choose a folder whose parents everyone may "
            f"enter (below {Path('/var/tmp')}, for instance), or start as another user."  # noqa: S108  # advice, not a path we open
        )
