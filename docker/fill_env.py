"""Writes .env for docker-compose.yaml: .env.example with a fresh random value for each empty variable.

Runs on any Python 3 with its standard library.
"""

import base64
import os
import re
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def filled(example: str) -> str:
    """The text of the example with each empty variable set; 32 random bytes as URL-safe Base64."""

    def secret(match: "re.Match[str]") -> str:
        # Fernet wants the padding; in the address of a database it would be trouble.
        value = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        return match[1] + (value if "FERNET" in match[1] else value.rstrip("="))

    return re.sub(r"^([A-Z0-9_]+=)$", secret, example, flags=re.MULTILINE)


def main() -> None:
    """Writes the file for its owner only, and never over one that is there."""
    try:
        handle = os.open(ROOT / ".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.exit("error: .env is there already, with the secrets that your volumes were made with.")
    with os.fdopen(handle, "w") as file:
        file.write(filled((ROOT / ".env.example").read_text()))
    print("Wrote .env (mode 0600).")


if __name__ == "__main__":
    main()
