"""Environment variables: the one table, and the reader that settings use.

    os.environ -> Reader.secret/flag/number/… -> values
                      |- a missing or bad one is noted, and a stand-in of the same kind returned
                      `- Reader.seal() -> SystemExit that names all of them, each with its remedy

A server that starts has good values for all of them. `docs/settings.md` carries `render_table()`.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import dj_database_url
from environs import FileAwareEnv

from backend.throttling.rates import Rates, parse_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
SECRET_KEY_CHARS_MIN = 50  # what Django's own key generator makes, and its deployment check asks
TOKEN_CHARS_MIN = 32
SECRET_KEY_DISTINCT_MIN = 5  # the same check: fewer distinct characters are a placeholder
FLAGS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
    ("false", "no", "off", "0"), False
)
LOG_FORMATS = ("LINE", "JSON")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# No wait for the database is without an end; options in the URL's query win over these.
DATABASE_OPTIONS: Final[dict[str, Any]] = {
    "connect_timeout": 5,  # seconds; the system's own is two minutes, with a thread in each
    "keepalives_idle": 15,  # these three: a host that vanished is noticed within half a minute
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds; the same for what was sent
    # A worker that froze in the middle of a push holds its tenant's stream: not for ever.
    "options": "-c idle_in_transaction_session_timeout=60s",
}
# Whatever the replica does not do soon, the primary does.
REPLICA_OPTIONS: Final[dict[str, Any]] = {
    **DATABASE_OPTIONS,
    "connect_timeout": 2,  # seconds, the least that there is
    "tcp_user_timeout": 5_000,  # milliseconds
    "options": f"{DATABASE_OPTIONS['options']}"
    " -c default_transaction_read_only=on -c statement_timeout=10s",
}


class Stage(enum.StrEnum):
    """Which settings module is in use."""

    DEMO = "demo"
    TEST = "test"
    PRODUCTION = "production"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One row of the table; `default` None means that it must be set.

    `try_out` is the default of the demo and test stages, where it differs.
    """

    name: str
    meaning: str
    remedy: str
    default: str | None
    try_out: str | None = None

    def default_in(self, stage: Stage) -> str | None:
        """The default in `stage`, None where the variable must be set."""
        is_lenient = stage is not Stage.PRODUCTION and self.try_out is not None
        return self.try_out if is_lenient else self.default


VARIABLES = (
    Variable(
        name="DATABASE_URL",
        meaning="The PostgreSQL database, as a URL.",
        remedy=(
            "Set it to postgresql://user:password@host:5432/name. To try things out or to test, "
            "`make serve` and `make test` start a PostgreSQL and set it."
        ),
        default=None,
    ),
    Variable(
        name="DATABASE_REPLICA_URL",
        meaning="A streaming replica of that database, for the pages of pulls; "
        "without it the primary serves them.",
        remedy="Set it to postgresql://user:password@host:5432/name, or leave it out.",
        default="",
    ),
    Variable(
        name="REDIS_URL",
        meaning="Redis or Valkey for the cache and for pokes; without it each process caches in "
        "its memory, and PostgreSQL carries the pokes.",
        remedy="Set it to redis://host:6379/0 (or rediss://, unix://), or leave it out.",
        default="",
    ),
    Variable(
        name="SECRET_KEY",
        meaning="Signs tokens, cursors and sessions; at least 50 characters, kept secret.",
        remedy=(
            "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(50))' "
            "and keep it: a new key logs every device out."
        ),
        default=None,
        try_out="try-out-only-0123456789-abcdefghijklmnopqrstuvwxyz-never-in-production",
    ),
    Variable(
        name="ALLOWED_HOSTS",
        meaning="Host names that the server answers to, separated by commas.",
        remedy="Set it to the server's public names, for example sync.example.com.",
        default=None,
        try_out="localhost,127.0.0.1,[::1]",
    ),
    Variable(
        name="CSRF_TRUSTED_ORIGINS",
        meaning="Origins from which the admin's forms may be sent, separated by commas.",
        remedy="Write each with its scheme, for example https://sync.example.com.",
        default="",
    ),
    Variable(
        name="DEBUG",
        meaning="Shows errors in full to whoever asks; never on in production.",
        remedy="Set it to true or false; in production leave it out.",
        default="false",
    ),
    Variable(
        name="LOG_LEVEL",
        meaning="What is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        remedy="Set it to one of these, or leave it out.",
        default="INFO",
    ),
    Variable(
        name="LOG_FORMAT",
        meaning="How it is logged: LINE for people, JSON for machines.",
        remedy="Set it to one of these, or leave it out.",
        default="LINE",
    ),
    Variable(
        name="ACCESS_TOKEN_MINUTES",
        meaning="Life of an access token, in minutes.",
        remedy="Set it to a whole number of minutes, 1 to 1440.",
        default="10",
    ),
    Variable(
        name="REFRESH_TOKEN_DAYS",
        meaning="Life of a refresh token, in days: the longest spell offline without a new login.",
        remedy="Set it to a whole number of days, 1 to 3650.",
        default="30",
    ),
    Variable(
        name="WORKER_THREADS",
        meaning="Requests carried out at once by one process; "
        "each thread keeps a connection to each database, and the process one more.",
        remedy="Set it to a whole number, 1 to 256.",
        default="8",
    ),
    Variable(
        name="QUEUE_MAX",
        meaning="Requests of one process that may wait for a thread; "
        "more are answered 503 at once, to come back later.",
        remedy="Set it to a whole number, 1 to 100000.",
        default="100",
    ),
    Variable(
        name="THROTTLE_RATES",
        meaning="Rates in place of the defaults (docs/throttling.md), as push=20/1s 1200/10m.",
        remedy="Write scopes with their windows, and commas between: push=20/1s 1200/10m.",
        default="",
    ),
    Variable(
        name="METRICS_TOKEN",
        meaning="What Prometheus sends as a bearer token to read /metrics; 32 characters or more. "
        "Without it there is no such page.",
        remedy="Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        default="",
    ),
    Variable(
        name="NUM_PROXIES",
        meaning="Proxies of ours before the server, each of which adds to X-Forwarded-For; "
        "what is said beyond them is not believed.",
        remedy="Set it to a whole number, 0 to 10.",
        default="0",
    ),
    Variable(
        name="PREPARE_STATEMENTS",
        meaning="Lets PostgreSQL plan each statement once a connection; "
        "off behind a pooler that hands out a connection per transaction and knows none of them.",
        remedy="Set it to true or false.",
        default="true",
    ),
    Variable(
        name="SECURE_SSL_REDIRECT",
        meaning="Sends plain HTTP on to HTTPS.",
        remedy="Set it to true or false.",
        default="true",
        try_out="false",
    ),
    Variable(
        name="SECURE_HSTS_SECONDS",
        meaning="How long browsers are to insist on HTTPS; 0 does not ask them to.",
        remedy="Set it to a whole number of seconds, 0 to 63072000.",
        default="3600",
        try_out="0",
    ),
)
BY_NAME = {variable.name: variable for variable in VARIABLES}


class SettingsInvalid(SystemExit):
    """The server cannot start; the message is for whoever started it, so there is no traceback."""


class Reader:
    """Reads variables for one stage, and notes what is wrong instead of stopping at the first.

    `NAME_FILE` may name a file that holds the value of `NAME`, as container secrets come. A
    variable that is set to nothing counts as not set.
    """

    def __init__(self) -> None:
        self._env = FileAwareEnv(strip_whitespace=True)
        self._problems: dict[str, str] = {}
        self.names_read: set[str] = set()

    def secret(self, name: str, stage: Stage) -> str:
        """A text that is long and mixed enough to sign with; try-outs may use any."""

        def parse(text: str) -> str:
            if stage is Stage.PRODUCTION and len(text) < SECRET_KEY_CHARS_MIN:
                problem = f"has {len(text)} characters, and needs {SECRET_KEY_CHARS_MIN}"
                raise ValueError(problem)
            if stage is Stage.PRODUCTION and len(set(text)) < SECRET_KEY_DISTINCT_MIN:
                problem = "is a placeholder: it repeats too few characters"
                raise ValueError(problem)
            return text

        return self._read(name, stage, parse, "0" * SECRET_KEY_CHARS_MIN)

    def token(self, name: str) -> str:
        """A text that nobody guesses, or nothing where the variable was left out."""

        def parse(text: str) -> str:
            if text and len(text) < TOKEN_CHARS_MIN:
                problem = f"has {len(text)} characters, and needs {TOKEN_CHARS_MIN}"
                raise ValueError(problem)
            return text

        return self._read(name, Stage.PRODUCTION, parse, "")

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of `choices`, in whatever case it was written."""

        def parse(text: str) -> str:
            if text.upper() not in choices:
                problem = f"is {text!r}, which is none of {', '.join(choices)}"
                raise ValueError(problem)
            return text.upper()

        return self._read(name, Stage.PRODUCTION, parse, choices[0])

    def flag(self, name: str, stage: Stage = Stage.PRODUCTION) -> bool:
        """True or false."""

        def parse(text: str) -> bool:
            if text.lower() not in FLAGS:
                problem = f"is {text!r}, which is neither true nor false"
                raise ValueError(problem)
            return FLAGS[text.lower()]

        return self._read(name, stage, parse, stand_in=False)

    def number(
        self, name: str, stage: Stage = Stage.PRODUCTION, *, minimum: int, maximum: int
    ) -> int:
        """A whole number between `minimum` and `maximum`, both included."""

        def parse(text: str) -> int:
            problem = f"is {text!r}, which is no whole number between {minimum} and {maximum}"
            if not (text.isascii() and text.isdigit() and minimum <= int(text) <= maximum):
                raise ValueError(problem)
            return int(text)

        return self._read(name, stage, parse, minimum)

    def names(
        self, name: str, stage: Stage = Stage.PRODUCTION, *, prefixes: tuple[str, ...] = ("",)
    ) -> list[str]:
        """A list that was written with commas, without its empty places."""

        def parse(text: str) -> list[str]:
            values = [value.strip() for value in text.split(",") if value.strip()]
            bad = [value for value in values if not value.startswith(prefixes)]
            if bad:
                problem = f"has {bad[0]!r}, which does not start with {' or '.join(prefixes)}"
                raise ValueError(problem)
            return values

        return self._read(name, stage, parse, [])

    def url(self, name: str, *, schemes: tuple[str, ...]) -> str:
        """A URL with one of `schemes`, or nothing where the variable was left out."""

        def parse(text: str) -> str:
            scheme, border, _ = text.partition("://")
            if text and not (border and scheme in schemes):
                problem = f"is no URL that starts with {' or '.join(schemes)}"  # may hold a secret
                raise ValueError(problem)
            return text

        return self._read(name, Stage.PRODUCTION, parse, "")

    def database(self, name: str, options: Mapping[str, Any] = DATABASE_OPTIONS) -> dict[str, Any]:
        """Django's description of the database: one kept, health-checked connection a thread.

        Nothing where the variable may be left out, and was.
        """

        def parse(text: str) -> dict[str, Any]:
            if not text:
                return {}
            if text.partition("://")[0] not in {"postgres", "postgresql"}:
                problem = "is no PostgreSQL URL, and the server runs on nothing but PostgreSQL"
                raise ValueError(problem)
            try:
                parsed = dj_database_url.parse(text, conn_max_age=None, conn_health_checks=True)
            except ValueError:  # its message may quote the password
                problem = "cannot be read as a URL (special characters are written %40 and so on)"
                raise ValueError(problem) from None
            if not parsed.get("NAME"):
                problem = "names no database"
                raise ValueError(problem)
            merged = {**options, **parsed.get("OPTIONS", {})}
            return {**parsed, "ENGINE": "backend.postgres", "OPTIONS": merged}

        return self._read(name, Stage.PRODUCTION, parse, {})

    def rates(self, name: str) -> Rates:
        """Windows by scope."""
        return self._read(name, Stage.PRODUCTION, parse_rates, {})

    def refuse(self, name: str, problem: str) -> None:
        """Note that `name` has a good value which this stage cannot take."""
        self._problems.setdefault(name, problem)

    def seal(self) -> None:
        """Stop the start when anything was wrong.

        Raises:
            SettingsInvalid: naming every missing or bad variable with its remedy.
        """
        if not self._problems:
            return
        lines = [
            f"  {name} {problem}.\n    {BY_NAME[name].remedy}"
            for name, problem in self._problems.items()
        ]
        title = "The server cannot start: these environment variables need attention."
        message = "\n".join([title, *lines, "docs/settings.md lists them all."])
        raise SettingsInvalid(message)

    def _read(self, name: str, stage: Stage, parse: Callable[[str], T], stand_in: T) -> T:
        default = BY_NAME[name].default_in(stage)
        self.names_read.add(name)
        try:
            text = self._env.str(name, default="").strip() or default
            if text is None:
                self._problems[name] = "is not set"
                return stand_in
            return parse(text)
        except ValueError as error:
            self._problems[name] = str(error)
            return stand_in


def render_table() -> str:
    """The table as Markdown, as `docs/settings.md` has it."""
    lines = ["| variable | meaning | default | needed |", "|---|---|---|---|"]
    for each in VARIABLES:
        default = f"`{each.default}`" if each.default else "none"
        if each.try_out is not None:
            default += "; demo and test have their own"
        is_needed = each.default is None
        needed = "no" if not is_needed else "always" if each.try_out is None else "production"
        lines.append(f"| `{each.name}` | {each.meaning} | {default} | {needed} |")
    return "\n".join(lines)
