"""Who is calling: basic credentials and signed tokens, compared in constant time."""

import base64
import binascii
import hmac
import secrets
import time

from include.stack.lakefs.model import LakeError
from include.stack.lakefs.options import Options, kept_secret

TOKEN_LIFE_S = 7 * 24 * 3600


class Unauthorized(LakeError):
    """No credentials, or wrong ones."""

    status = 401


class Gatekeeper:
    """Knows the one administrator of this server.

    Args:
        options: The administrator's key, secret and name, and where the token secret is kept.
    """

    def __init__(self, options: Options) -> None:
        self.user = options.user
        self.access_key_id = options.access_key_id
        self.created_at = int(time.time())
        self._pair = f"{options.access_key_id}:{options.secret_access_key}".encode()
        self._token_secret = kept_secret(
            options.data_dir / "token_secret", lambda: secrets.token_urlsafe(48)
        ).strip()

    def identify(self, authorization: str) -> str:
        """Return the name of the caller.

        Args:
            authorization: Value of the Authorization header, "" for none.

        Raises:
            Unauthorized: It is absent, malformed or wrong.
        """
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "basic" and self._is_pair(value):
            return self.user
        if scheme.lower() == "bearer" and self._is_token(value.strip()):
            return self.user
        raise Unauthorized("error authenticating request")

    def login(self, access_key_id: str, secret_access_key: str) -> tuple[str, int]:
        """Exchange credentials for a token and the unix time at which it expires.

        Raises:
            Unauthorized: They are wrong.
        """
        import jwt

        if not hmac.compare_digest(f"{access_key_id}:{secret_access_key}".encode(), self._pair):
            raise Unauthorized("error authenticating request")
        now = int(time.time())
        claims = {"sub": self.user, "aud": "login", "iat": now, "exp": now + TOKEN_LIFE_S}
        claims["jti"] = secrets.token_hex(16)
        return jwt.encode(claims, self._token_secret, algorithm="HS256"), now + TOKEN_LIFE_S

    def _is_pair(self, encoded: str) -> bool:
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, self._pair)

    def _is_token(self, token: str) -> bool:
        import jwt

        try:
            jwt.decode(
                token,
                self._token_secret,
                algorithms=["HS256"],
                audience="login",
                options={"require": ["exp", "sub", "aud"]},
            )
        except jwt.InvalidTokenError:
            return False
        return True
