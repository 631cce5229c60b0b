"""Link: the way to the server, step by step, so that the first one that fails names the trouble.

address -> name -> port -> TLS -> who answers there -> what time it is there
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from fieldsync.client import USER_AGENT
from fieldsync.doctor.finding import Area, Check, Finding, Level
from fieldsync.errors import (
    AuthRequired,
    FieldsyncError,
    RateLimited,
    TransportFailure,
    UpgradeRequired,
)
from fieldsync.transport import Answer, Request, Transport, Wording
from fieldsync.verdict import check_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

ADDRESS = Check(name="address", area=Area.LINK)
NAME = Check(name="name", area=Area.LINK)
PORT = Check(name="port", area=Area.LINK)
TLS = Check(name="tls", area=Area.LINK)
SERVER = Check(name="server", area=Area.LINK)
APP = Check(name="app version", area=Area.APP)
TROUBLE = Check(name="server", area=Area.SERVER)
CLOCK = Check(name="clock", area=Area.LINK)
TIMEOUT_S = 10.0
SKEW_S_MAX = 120.0  # no rule of sync minds; people do who read times
SKEW_S_BROKEN = 86_400.0  # certificates seem to be over, or not to have begun
LIMITS = Request(method="GET", path="sync/limits")
PORTS = {"http": 80, "https": 443}
PORTAL = "a page of the network answers in its place (a captive portal, or a proxy)"
PORTAL_REMEDY = "open a browser and log in to the network, or use another one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where the server is said to be."""

    url: str
    host: str
    port: int
    is_encrypted: bool


def check_link(url: str | None, *, now: Callable[[], datetime]) -> Iterator[Finding]:
    """What is to be said of the way to `url`; ends at the first step that fails."""
    way = _find_way(url)
    if isinstance(way, Finding):
        yield way
        return
    for check in (_check_name, _check_port, _check_tls):
        if _proxy(way) is not None:
            yield NAME.ok(f"everything goes through the proxy {_proxy(way)}")
            break
        finding = check(way)
        if finding is not None:
            yield finding
            if finding.level is Level.BROKEN:
                return
    yield from _check_server(way, now)


def _find_way(url: str | None) -> Way | Finding:
    if url is None:
        return ADDRESS.broken(
            "no server is known", "log in: fieldsync --url https://your.server login NAME"
        )
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    if port is None or parts.hostname is None:
        return ADDRESS.broken(
            f"{url} is no address of a server", "it has to look like https://sync.example.com"
        )
    return Way(url=url, host=parts.hostname, port=port, is_encrypted=parts.scheme == "https")


def _proxy(way: Way) -> str | None:
    """The proxy that the environment names for this server."""
    scheme = "https" if way.is_encrypted else "http"
    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all")
    return None if found is None or proxy_bypass(way.host) else found


def _check_name(way: Way) -> Finding:
    try:
        found = socket.getaddrinfo(way.host, way.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return NAME.broken(
            f"the name {way.host} cannot be found ({error.strerror})",
            "check the address for a typing error, and whether there is a network at all",
        )
    return NAME.ok(f"{way.host} is {found[0][4][0]}")


def _check_port(way: Way) -> Finding:
    try:
        with closing(_connect(way)):
            return PORT.ok(f"something listens at port {way.port}")
    except TimeoutError:
        return PORT.broken(
            f"no answer from {way.host} at port {way.port} within {TIMEOUT_S:.0f} s",
            "check whether there is a network, and whether a firewall is in the way",
        )
    except OSError as error:
        return PORT.broken(
            f"nothing listens at {way.host}, port {way.port} ({os.strerror(error.errno or 0)})",
            "check the port in the address; if it is right, the server is down: tell its operator",
        )


def _connect(way: Way) -> socket.socket:
    return socket.create_connection((way.host, way.port), timeout=TIMEOUT_S)


def _check_tls(way: Way) -> Finding | None:
    if not way.is_encrypted:
        return None
    context = httpx2.create_ssl_context()
    try:
        with (
            closing(_connect(way)) as plain,
            closing(context.wrap_socket(plain, server_hostname=way.host)) as safe,
        ):
            return TLS.ok(f"{safe.version()}, with a certificate that this machine trusts")
    except ssl.SSLCertVerificationError as error:
        return TLS.broken(
            f"the certificate is not to be trusted: {error.verify_message}",
            "check the clock and the address; in a company's network its own authority may have "
            "to be named in SSL_CERT_FILE; else somebody listens in: do not go on",
        )
    except OSError as error:
        return TLS.broken(
            f"no encrypted talk is possible ({error})",
            "check whether the address should begin with http://, or have another port",
        )


def _check_server(way: Way, now: Callable[[], datetime]) -> Iterator[Finding]:
    wording = Wording(url=way.url, timeout_s=TIMEOUT_S, user_agent=USER_AGENT, now=now)
    with closing(Transport(wording)) as transport:
        try:
            answer = transport.send(LIMITS)
        except TransportFailure as failure:
            yield SERVER.broken(
                f"the talk broke off ({failure.reason})", "try again, or from another network"
            )
            return
    finding = _judge(way, answer)
    yield finding
    if finding.level is not Level.BROKEN:
        yield _check_clock(answer)


def _judge(way: Way, answer: Answer) -> Finding:
    """Who has answered. A Fieldsync server asks who we are."""
    try:
        check_answer(answer)
    except AuthRequired:
        return SERVER.ok("a Fieldsync server")
    except UpgradeRequired as error:
        return APP.broken(f"the server takes no app as old as this one: {error}", "update it")
    except RateLimited as error:
        return TROUBLE.warning(f"it is busy ({error})", "try again in a few minutes")
    except FieldsyncError as error:
        if answer.is_json and answer.status >= 500:  # noqa: PLR2004  # server errors
            return TROUBLE.broken(f"the server has a fault ({error})", "tell its operator")
    if answer.kind == "text/html" or answer.status // 100 == 3:  # noqa: PLR2004  # redirects
        return SERVER.broken(PORTAL, PORTAL_REMEDY)
    return SERVER.broken(
        f"what answers at {way.url} is no Fieldsync server (status {answer.status})",
        "check the address with your operator",
    )


def _check_clock(answer: Answer) -> Finding:
    try:
        there = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return CLOCK.ok("the server says no time to compare with")
    skew_s = (answer.received_at - there).total_seconds()
    found = f"{_duration(skew_s)} {'ahead of' if skew_s > 0 else 'behind'} the server's"
    remedy = "set the clock of this machine, best by having it set from the network"
    if abs(skew_s) > SKEW_S_BROKEN:
        return CLOCK.broken(found, remedy)
    if abs(skew_s) > SKEW_S_MAX:
        return CLOCK.warning(found, remedy)
    return CLOCK.ok("as the server's")


def _duration(seconds: float) -> str:
    minutes = round(abs(seconds) / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"
