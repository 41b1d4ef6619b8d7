"""Health checks over HTTP, on the standard library: the health watcher stays small."""

import http.client
import urllib.request
from collections.abc import Callable

TIMEOUT_S = 3.0

# Proxy settings of the environment are for the outside.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str, *, token: str = "", within_s: float = TIMEOUT_S) -> Callable[[], bool]:
    """A check that `GET url` answers with 2xx; a token goes with it as that of its bearer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - always http, to loopback

    def check() -> bool:
        try:
            with OPENER.open(request, timeout=within_s) as response:
                return bool(200 <= response.status < 300)
        except (OSError, http.client.HTTPException):
            return False

    return check
