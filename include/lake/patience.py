"""How long a request may wait for a server that is away or overloaded; a conflict never waits."""

from dataclasses import dataclass
from typing import Any

import urllib3
from lakefs_sdk.exceptions import ApiException
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay
from tenacity.wait import wait_base, wait_exponential_jitter

TRANSIENT_STATUSES = frozenset({408, 423, 425, 429, 500, 502, 503, 504})
LONGEST_RETRY_AFTER_S = 30.0


@dataclass(frozen=True)
class Patience:
    """Bounds of one request, retries included.

    Args:
        deadline_s: No retry starts later than this after the first try. A server that a supervisor
            restarts is back within it.
        connect_timeout_s: Of one try, until the connection stands.
        read_timeout_s: Of one try, between two pieces of the answer.
        first_wait_s: Before the second try; doubles from there, with jitter.
        longest_wait_s: Between two tries.
    """

    deadline_s: float = 60.0
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 60.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0

    @property
    def timeouts(self) -> tuple[float, float]:
        """Connect and read, as the SDK takes them."""
        return (self.connect_timeout_s, self.read_timeout_s)

    def tries(self) -> Retrying:
        """A fresh schedule of tries; the last error is raised as it is."""
        return Retrying(
            stop=stop_before_delay(self.deadline_s),
            wait=_Backoff(self),
            retry=retry_if_exception(is_transient),
            reraise=True,
        )


class TransientAnswer(Exception):
    """An answer that a later try may not get.

    Args:
        message: What was refused, without the signed address.
        status: The HTTP status; 0 where the answer itself was broken.
        retry_after: What it asked to wait, as in its header.
    """

    def __init__(self, message: str, status: int, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class _Backoff(wait_base):
    """Exponential with jitter, and never sooner than the server asked in Retry-After."""

    def __init__(self, patience: Patience) -> None:
        self._jittered = wait_exponential_jitter(
            initial=patience.first_wait_s, max=patience.longest_wait_s, jitter=patience.first_wait_s
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        asked = retry_after_s(retry_state.outcome.exception() if retry_state.outcome else None)
        return max(self._jittered(retry_state), asked)


def is_transient(error: BaseException) -> bool:
    """Whether a later try may succeed: no connection, a broken one, or an overloaded server."""
    if isinstance(error, TransientAnswer):
        return True
    if isinstance(error, ApiException):
        return error.status in TRANSIENT_STATUSES
    if isinstance(error, urllib3.exceptions.LocationValueError | urllib3.exceptions.SSLError):
        return False
    if isinstance(error, urllib3.exceptions.MaxRetryError):
        return error.reason is None or is_transient(error.reason)
    return isinstance(error, urllib3.exceptions.HTTPError)


def retry_after_s(error: BaseException | None) -> float:
    """The seconds that the server asked to wait, bounded; 0 where it did not."""
    asked: Any = None
    if isinstance(error, TransientAnswer):
        asked = error.retry_after
    elif isinstance(error, ApiException) and error.headers is not None:
        asked = error.headers.get("Retry-After")
    try:
        return min(float(asked), LONGEST_RETRY_AFTER_S) if asked else 0.0
    except ValueError:  # a date instead of seconds
        return 0.0
