"""`python -m backend.devstack.health`: status 0 when the server in this container answers.

It asks as the proxy in front does: by a host name that the server knows and as HTTPS; otherwise
every check would leave a refusal in the log. Any answer but a failure of the server will do.
"""

from __future__ import annotations

import http.client
import os
import sys
from typing import TYPE_CHECKING

from backend.devstack.listeners import HOST
from backend.devstack.server import READY_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 8000  # the image's
ANSWER_S_MAX = 4.0  # below the time that the image gives the check
FAILURE_STATUS_MIN = 500


def is_healthy(*, port: int, environ: Mapping[str, str]) -> bool:
    """Whether the server on `port` answers; `environ` has its ALLOWED_HOSTS."""
    first = environ.get("ALLOWED_HOSTS", "").split(",")[0].strip()
    headers = {"Host": first.lstrip("*.") or "localhost", "X-Forwarded-Proto": "https"}
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", READY_PATH, headers=headers)
        return connection.getresponse().status < FAILURE_STATUS_MIN
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_healthy(port=PORT, environ=os.environ))
