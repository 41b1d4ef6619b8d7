"""HTTP to one host and no other, with bounds: on the length and time of an answer, on tries, and on speed."""

import json
import logging
import time
from decimal import Decimal
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from include.ingestion.contracts import ContractError
from include.spec.errors import HeadraceError

LARGEST_BODY_BYTES = 64 * 2**20
CONNECT_TIMEOUT_S, SILENCE_S, BODY_TIMEOUT_S = 10.0, 30.0, 120.0
TRIES = 5
LONGEST_WAIT_S = 60.0
MOST_REDIRECTS = 5
_AGAIN = frozenset([429, 502, 503, 504])
_PORTS = {"http": 80, "https": 443}

logger = logging.getLogger(__name__)


class RestError(HeadraceError):
    """The API did not answer as it should; another try may help."""


class RestRefused(ContractError):
    """The API answers what must not be followed or read, and would again."""


class OneHost(requests.Session):
    """A session whose every request, redirects and links of pages included, stays with one host.

    Args:
        url: The API's address; scheme, host and port are what requests are held to.
        requests_per_second: Never faster; None: as fast as it answers.
        body_timeout_s: How long one answer may take to arrive whole.

    Raises:
        RestRefused: The address is not one of HTTP.
    """

    def __init__(
        self, url: str, requests_per_second: float | None = None, body_timeout_s: float = BODY_TIMEOUT_S
    ) -> None:
        super().__init__()
        self.trust_env = False  # no proxy and no .netrc of the machine's
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.password:
            raise RestRefused(
                "The API's address is no http(s)://host without a name and a password.",
                remedy="Correct it in the settings; declare secrets with auth=.",
            )
        self._origin = _origin(parts)
        self._gap_s = 1 / requests_per_second if requests_per_second else 0.0
        self._body_timeout_s = body_timeout_s
        self._next = 0.0

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """One answer, read whole; a redirect on the host is followed, a busy server is asked again.

        Raises:
            RestError: No answer, one that broke off, or one that says that it failed.
            RestRefused: It leads elsewhere, never ends, or is not allowed.
        """
        for _ in range(MOST_REDIRECTS + 1):
            response = self._answered(request, kwargs)
            target = self.get_redirect_target(response)
            if target is None:
                self._read(response, request)
                return response
            response.close()
            request = request.copy()
            request.prepare_url(urljoin(str(request.url), target), None)
        raise RestRefused(f"{shown(request)} redirects more than {MOST_REDIRECTS} times.")

    def _answered(self, request: requests.PreparedRequest, kwargs: dict[str, Any]) -> requests.Response:
        if _origin(urlsplit(str(request.url))) != self._origin:
            raise RestRefused(
                f"A page or a redirect leads from {_host(self._origin)} to {shown(request)}.",
                remedy="Only the declared host is asked. If the API has moved, correct its address.",
            )
        asked = {
            **kwargs,
            "stream": True,
            "allow_redirects": False,
            "timeout": (CONNECT_TIMEOUT_S, SILENCE_S),
        }
        failure = ""
        for tried in range(1, TRIES + 1):
            self._keep_pace()
            wait_s = float(2 ** (tried - 1))
            try:
                response = super().send(request, **asked)
            except requests.RequestException as error:
                failure = f"did not answer ({type(error).__name__})"
            else:
                if response.status_code not in _AGAIN:
                    return response
                wait_s = _asked_wait_s(response, wait_s)
                failure = f"answers {response.status_code} {response.reason}"
                response.close()
            if tried < TRIES:
                logger.warning("%s %s; asking again in %.0f s", shown(request), failure, wait_s)
                time.sleep(min(wait_s, LONGEST_WAIT_S))
        raise RestError(
            f"{shown(request)} {failure}, {TRIES} times.", remedy="See that it runs; then run again."
        )

    def _keep_pace(self) -> None:
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + self._gap_s

    def _read(self, response: requests.Response, request: requests.PreparedRequest) -> None:
        """Read the body within its bounds, and have `json` keep every digit of a number."""
        if response.status_code >= requests.codes.bad_request:
            response.close()
            refused = response.status_code < requests.codes.server_error
            kind = RestRefused if refused else RestError
            raise kind(
                f"{shown(request)} answers {response.status_code} {response.reason}.",
                remedy="See path, parameters and auth of the declaration, and the secrets in the settings.",
            )
        until = time.monotonic() + self._body_timeout_s
        body = bytearray()
        try:
            for chunk in response.iter_content(2**16):
                body += chunk
                if len(body) > LARGEST_BODY_BYTES or time.monotonic() > until:
                    raise RestRefused(
                        f"{shown(request)} sent {len(body):,} bytes and no end.",
                        remedy=f"Accepted: {LARGEST_BODY_BYTES:,} bytes within {self._body_timeout_s:.0f} s. "
                        "Ask for smaller pages.",
                    )
        except requests.RequestException as error:
            raise RestError(
                f"{shown(request)} broke off after {len(body):,} bytes ({type(error).__name__}).",
                remedy="Run again.",
            ) from None
        finally:
            response.close()
        response._content, response._content_consumed = bytes(body), True  # type: ignore[attr-defined]
        parsed = _parsed(response.content, request)
        response.json = lambda **_: parsed  # type: ignore[method-assign]


def shown(request: requests.PreparedRequest) -> str:
    """The address without its query, which may hold a key."""
    parts = urlsplit(str(request.url))
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def _parsed(body: bytes, request: requests.PreparedRequest) -> Any:
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        said = str(error).splitlines()[0]
        raise RestRefused(f"{shown(request)} answers what is no JSON: {said}.") from None


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)


def _host(origin: tuple[str, str, int]) -> str:
    return f"{origin[1]}:{origin[2]}"


def _asked_wait_s(response: requests.Response, otherwise: float) -> float:
    """What `Retry-After` says, where it is a number of seconds."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else otherwise
