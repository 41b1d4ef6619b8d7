"""Asks a running lake server to collect garbage; it alone may open its store."""

import base64
import urllib.error
import urllib.request

import msgspec

from include.spec.errors import HeadraceError
from include.stack.lakefs.collection import Collected

TIMEOUT_S = 3600


class CollectionRefused(HeadraceError):
    """The lake server did not collect."""


def collect(
    endpoint: str, access_key_id: str, secret_access_key: str, repository: str, *, grace_s: int, dry_run: bool
) -> Collected:
    """Run the collection of a repository and wait for it.

    Raises:
        CollectionRefused: The server cannot be reached, is not ours, or refuses.
    """
    if not endpoint.startswith(("http://", "https://")):
        raise CollectionRefused(f"{endpoint!r} is no http address", remedy="Set HEADRACE_LAKEFS_ENDPOINT.")
    pair = base64.b64encode(f"{access_key_id}:{secret_access_key}".encode()).decode()
    dry = "true" if dry_run else "false"
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        f"{endpoint.rstrip('/')}/api/v1/headrace/repositories/{repository}/gc?grace_s={grace_s}&dry_run={dry}",
        method="POST",
        headers={"Authorization": f"Basic {pair}"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return msgspec.json.decode(answer.read(), type=Collected)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:500]
        raise CollectionRefused(
            f"The lake server refuses: {error.code} {said}",
            remedy="Collection is run by headrace's own lake server; a real lakeFS has its own.",
            repository=repository,
        ) from error
    except OSError as error:
        raise CollectionRefused(
            f"The lake server cannot be reached: {error}", remedy="Is the stack up?", endpoint=endpoint
        ) from error
