"""`python deploy/make_env.py HOST`: writes .env for docker-compose.yml, with secrets of its own.

An .env that is there already is left alone: its secrets are in use. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

ONLY_MINE = 0o600
FILE = Path(__file__).parents[1] / ".env"


def make_text(address: str) -> str:
    """Return the file for a public address: a host name, or http://… to look around."""
    is_plain = address.startswith("http://")
    host = urlsplit(address).hostname if "://" in address else address.partition(":")[0]
    lines = {
        "SITE_ADDRESS": address,
        "ALLOWED_HOSTS": host or "",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "METRICS_TOKEN": secrets.token_urlsafe(32),
        "GRAFANA_PASSWORD": secrets.token_urlsafe(16),
    }
    if is_plain:
        lines |= {"SECURE_SSL_REDIRECT": "false", "SECURE_HSTS_SECONDS": "0"}
    else:
        lines["CSRF_TRUSTED_ORIGINS"] = f"https://{host}"
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def main(arguments: list[str], file: Path = FILE) -> int:
    """Write the file; the exit status."""
    parser = argparse.ArgumentParser(prog="make_env.py", description=__doc__)
    parser.add_argument("host", help="the public host name, or http://localhost to look around")
    address = parser.parse_args(arguments).host
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_MINE)
    except FileExistsError:
        sys.stderr.write(f"{file} is there already, and is kept.\n")
        return 0
    with os.fdopen(handle, "w") as stream:
        stream.write(make_text(address))
    sys.stderr.write(f"{file} is written. Keep it: nobody else knows these secrets.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
