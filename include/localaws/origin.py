"""Who may call: programs of this machine, and no page in a browser."""

from __future__ import annotations

import ipaddress
from typing import Any

from localaws.replies import AwsError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def check_origin(environ: dict[str, Any]) -> None:
    """Refuse what comes from a page in a browser: jobs are code, and whoever may call starts them.

    :raises AwsError: the Host header is no loopback name, or the Origin header another site's.
    """
    host = environ.get("HTTP_HOST", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    # A page can make a name of its own lead here, but not an address: in a container, addresses are let through.
    by_address = environ.get("SERVER_NAME") not in LOOPBACK_NAMES and _is_address(name)
    if name not in LOOPBACK_NAMES and not name.endswith(".localhost") and not by_address:
        raise AwsError("AccessDenied", f"the local AWS answers only to 127.0.0.1 and localhost, not to {host!r}", 403)
    origin = environ.get("HTTP_ORIGIN")
    if origin and origin.partition("://")[2].partition(":")[0] not in LOOPBACK_NAMES:
        raise AwsError("AccessDenied", f"the local AWS takes no calls from pages of {origin}", 403)
    if environ.get("PATH_INFO", "").startswith(("/moto-api", "/latest/meta-data/", "/latest/api/")):
        raise AwsError("AccessDenied", "moto's own pages are closed: they change state, or make up instance data", 403)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
