"""Calls a webhook: http and https only, no redirects, one deadline for all of it.

What it may reach is what an administrator may write into a repository, so it is not confined to
a list of hosts; link-local addresses, where clouds serve credentials, are refused, and the address
that was checked is the one that is connected to.
"""

import ipaddress
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from include.stack.lakefs.hooks.actions import Hook, parse_duration, webhook_properties
from include.stack.lakefs.model import LakeError

if TYPE_CHECKING:
    import urllib3

DEFAULT_TIMEOUT_S = 60.0
MAX_TIMEOUT_S = 600.0
MAX_ANSWER_BYTES = 64 * 2**10
VARIABLE = re.compile(r"\{\{\s*ENV\.(\w+)\s*\}\}")


class WebhookFailed(LakeError):
    """The webhook could not be called, or refused."""

    status = 412


@dataclass(frozen=True)
class Request:
    """A webhook call that is ready to be made.

    Args:
        url: With its query.
        headers: To send; may hold secrets.
        timeout_s: For everything, from looking up the name to the last byte of the answer.
        shown: The call without the values of variables, for the log of the run.
    """

    url: str
    headers: Mapping[str, str]
    timeout_s: float
    shown: str


def prepare(hook: Hook, variables_prefix: str) -> Request:
    """Build the call of a hook.

    Args:
        hook: The hook.
        variables_prefix: `{{ ENV.X }}` is expanded for variables that begin so; "" expands none.

    Raises:
        BadAction: Bad properties.
        WebhookFailed: A variable that must not be expanded or is not set, or a bad URL.
    """
    given = webhook_properties(hook)
    timeout_s = min(parse_duration(given.timeout) if given.timeout else DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S)
    parts = urlsplit(given.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WebhookFailed(f"webhook url must be http or https: {given.url}")
    query = parse_qsl(parts.query, keep_blank_values=True)
    shown = [f"Request:\nPOST {given.url}", "Query Params:"]
    for name, value in (given.query_params or {}).items():
        for single in value if isinstance(value, list) else [value]:
            query.append((name, _expand(single, variables_prefix)))
            shown.append(f"{name}: {single}")
    headers = {name: _expand(value, variables_prefix) for name, value in (given.headers or {}).items()}
    shown += ["Headers:", *(f"{name}: {value}" for name, value in (given.headers or {}).items())]
    headers["Content-Type"] = "application/json"
    url = parts._replace(query=urlencode(query), fragment="").geturl()
    return Request(url, headers, timeout_s, "\n".join(shown))


def _expand(text: str, variables_prefix: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if not variables_prefix or not name.startswith(variables_prefix):
            raise WebhookFailed(f"environment variable {name} must not be used in hooks")
        if name not in os.environ:
            raise WebhookFailed(f"missing env var {name}")
        return os.environ[name]

    return VARIABLE.sub(value, text)


def call(request: Request, body: bytes) -> str:
    """Make the call.

    Args:
        request: What to call.
        body: JSON of the event.

    Returns:
        The answer, for the log of the run.

    Raises:
        WebhookFailed: No connection, no answer in time, or a status other than 2xx. The message
            carries what the webhook said.
    """
    import urllib3

    deadline = time.monotonic() + request.timeout_s
    parts = urlsplit(request.url)
    try:
        pool = _pool(parts.scheme, parts.hostname or "", parts.port, request.timeout_s)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        with (
            pool,
            pool.urlopen(
                "POST",
                target,
                body=body,
                headers={"Host": parts.netloc.rpartition("@")[2], **request.headers},
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(total=request.timeout_s),
            ) as answer,
        ):
            data = _read(answer, deadline)
            status = answer.status
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise WebhookFailed(f"webhook request failed: {type(error).__name__}") from error
    said = data.decode("utf-8", errors="replace").strip()
    if not 200 <= status < 300:
        tail = f": {said[:1000]}" if said else ""
        raise WebhookFailed(f"webhook request failed (status code: {status}){tail}")
    return f"Response:\n{status}\n{said}"


def _read(answer: "urllib3.BaseHTTPResponse", deadline: float) -> bytes:
    data = b""
    while len(data) < MAX_ANSWER_BYTES:
        if time.monotonic() > deadline:
            raise WebhookFailed("webhook request failed: no answer in time")
        chunk = answer.read1(8192) if hasattr(answer, "read1") else answer.read(8192)
        if not chunk:
            break
        data += chunk
    return data[:MAX_ANSWER_BYTES]


def _pool(scheme: str, host: str, port: int | None, timeout_s: float) -> "urllib3.HTTPConnectionPool":
    import urllib3

    address = _address(host, port or (443 if scheme == "https" else 80))
    if scheme == "http":
        return urllib3.HTTPConnectionPool(address, port or 80, timeout=timeout_s)
    return urllib3.HTTPSConnectionPool(
        address, port or 443, timeout=timeout_s, server_hostname=host, assert_hostname=host
    )


def _address(host: str, port: int) -> str:
    found = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    ip = ipaddress.ip_address(found.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        raise WebhookFailed(f"webhook host {host} leads to {ip}, which must not be called")
    return found
