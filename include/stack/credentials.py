"""Generated keys and passwords: letters and digits only, so that they need no quoting anywhere."""

import secrets
import string
from dataclasses import dataclass, field

_ALPHABET = string.ascii_letters + string.digits


def password(length: int = 32) -> str:
    """A random password."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True)
class KeyPair:
    """An access key and its secret, in the shape that S3 and lakeFS use."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @classmethod
    def generate(cls) -> "KeyPair":
        """A fresh pair."""
        return cls("HR" + password(18).upper(), password(40))
