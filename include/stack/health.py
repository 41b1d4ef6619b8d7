"""Health checks over HTTP, on the standard library: the health watcher stays small."""

import http.client
import urllib.request
from collections.abc import Callable

TIMEOUT_S = 3.0

# Proxy settings of the environment are for the outside.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str, *, within_s: float = TIMEOUT_S) -> Callable[[], bool]:
    """A check that `GET url` answers with 2xx."""

    def check() -> bool:
        try:
            with OPENER.open(url, timeout=within_s) as response:
                return bool(200 <= response.status < 300)
        except (OSError, http.client.HTTPException):
            return False

    return check
