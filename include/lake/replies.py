"""What the server's answers mean, and a transport that never waits without bound."""

import json
from contextlib import suppress
from typing import Any

from lakefs_sdk.exceptions import ApiException
from lakefs_sdk.rest import RESTClientObject

from include.lake.errors import Busy, Forbidden, HookRefused, NotFound, ServerRefused, WrongKeys
from include.lake.patience import TRANSIENT_STATUSES

LONGEST_MESSAGE = 500


class BoundedRest(RESTClientObject):
    """The SDK's transport with a timeout on each request; its own default is to wait for ever."""

    def __init__(self, configuration: Any, timeouts: tuple[float, float]) -> None:
        super().__init__(configuration)
        self._timeouts = timeouts

    def request(self, *request: Any, **options: Any) -> Any:
        """As the SDK's, with the timeouts of our patience where none are given."""
        options["_request_timeout"] = options.get("_request_timeout") or self._timeouts
        return super().request(*request, **options)  # type: ignore[no-untyped-call]


def meaning(error: ApiException, endpoint: str) -> ServerRefused:
    """Our error for an answer of the server; its message kept, the request's headers left out."""
    status, said = error.status or 0, server_message(error)
    if status == 401:
        return WrongKeys(
            "the lake server does not know these keys",
            status=status,
            remedy="Set HEADRACE_LAKEFS_ACCESS_KEY_ID and HEADRACE_LAKEFS_SECRET_ACCESS_KEY.",
            endpoint=endpoint,
        )
    if status == 403:
        return Forbidden(
            f"the lake server does not allow it: {said}",
            status=status,
            remedy="A protected branch changes by merge only; else these keys lack the permission.",
            endpoint=endpoint,
        )
    if status in {404, 410}:
        return NotFound(f"the lake server has no such thing: {said}", status=status, endpoint=endpoint)
    if status == 412:
        return HookRefused(
            f"a hook of the lake server refused: {said}",
            status=status,
            remedy="Its run is listed under Actions of the repository.",
            endpoint=endpoint,
        )
    if status in TRANSIENT_STATUSES:
        return Busy(
            f"the lake server kept failing until the deadline (HTTP {status}): {said}",
            status=status,
            remedy="Its log tells more: `headrace logs lakefs`.",
            endpoint=endpoint,
        )
    return ServerRefused(f"the lake server refused (HTTP {status}): {said}", status=status, endpoint=endpoint)


def server_message(error: ApiException) -> str:
    """What the server said, short."""
    body = error.body if isinstance(error.body, str) else ""
    with suppress(ValueError, TypeError, KeyError):
        body = json.loads(body)["message"]
    return (str(body) or str(error.reason or "")).strip()[:LONGEST_MESSAGE]


def says_why(error: BaseException | None) -> bool:
    """Whether an answer has the form in which a lakeFS server reports errors."""
    try:
        return "message" in json.loads(getattr(error, "body", None) or "")
    except (ValueError, TypeError):
        return False


def says_no_changes(error: ServerRefused) -> bool:
    """Whether a commit or merge was refused because it would change nothing."""
    return error.status == 400 and "no changes" in error.message.lower()
