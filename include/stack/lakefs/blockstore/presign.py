"""Pre-signed S3 links, made without the client: a listing of a thousand objects asks for a thousand.

Source: AWS Signature Version 4, "Authenticating requests: using query parameters".
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


class Presigner:
    """Signs links to objects of one S3 server, addressed by path.

    Args:
        endpoint: URL of the server, as clients reach it.
        region: Region that requests are signed for.
        access_key_id: Its key.
        secret_access_key: Its secret.
        expiry_s: How long links hold.
    """

    def __init__(
        self, endpoint: str, region: str, access_key_id: str, secret_access_key: str, expiry_s: int
    ) -> None:
        parts = urlsplit(endpoint)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._prefix = parts.path.rstrip("/")
        self._host = _host(parts.scheme, parts.netloc)
        self._region = region
        self._key_id = access_key_id
        self._secret = secret_access_key.encode()
        self._expiry_s = expiry_s
        self._day_key = ("", b"")

    def link(self, method: str, bucket: str, key: str, query: Mapping[str, str] | None = None) -> str:
        """A link that admits one method on one object, with these query parameters."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        day = stamp[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        asked = {
            **(query or {}),
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self._key_id}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(self._expiry_s),
            "X-Amz-SignedHeaders": "host",
        }
        path = f"{self._prefix}/{quote(bucket, safe='-._~')}/{quote(key, safe='/-._~')}"
        encoded = "&".join(
            f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in sorted(asked.items())
        )
        request = f"{method}\n{path}\n{encoded}\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signed = _sign(self._signing_key(day), f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}").hex()
        return f"{self._base}{path}?{encoded}&X-Amz-Signature={signed}"

    def _signing_key(self, day: str) -> bytes:
        known_day, key = self._day_key
        if known_day != day:
            key = _sign(b"AWS4" + self._secret, day)
            for part in (self._region, "s3", "aws4_request"):
                key = _sign(key, part)
            self._day_key = (day, key)
        return key


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _host(scheme: str, netloc: str) -> str:
    """The Host header that clients send: without the port where it is the scheme's own."""
    own = {"http": ":80", "https": ":443"}.get(scheme, "")
    return netloc.removesuffix(own) if own else netloc
