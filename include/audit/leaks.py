"""I10: no secret where people read, and nobody else can read the files that hold one."""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from include.audit.result import Checked, Violation
from include.settings import STACK_ENV, Settings

CREDENTIALS = "credentials.json"
# What servers need to be told, and their own state: nobody reads these but they.
SECRET_FILES = ("airflow/airflow.cfg", "airflow/simple_auth_manager_passwords.json", "lakefs/token_secret")
SECRET_FOLDERS = ("run",)
DATA_FOLDERS = ("postgres", "seaweedfs", "lakefs", "mlflow")
SHORTEST_CHARACTERS = 8  # anything shorter is found everywhere
CHUNK_BYTES = 1 << 22
SECRET_NAME = re.compile(r"PASSWORD|SECRET(?!S?_FILE)|SIGNING_KEY|TOKEN|FERNET", re.IGNORECASE)


def secrets_of(home: Path, settings: Settings) -> dict[str, str]:
    """Every secret that is known here, by where it is named."""
    found: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found[f"HEADRACE_{name.upper()}"] = value.get_secret_value()
    if (home / CREDENTIALS).is_file():
        found |= dict(_leaves(json.loads((home / CREDENTIALS).read_text()), CREDENTIALS))
    if (home / STACK_ENV).is_file():
        found |= dict(_variables((home / STACK_ENV).read_text()))
    for name, value in list(found.items()):
        if "://" in value:
            found[name] = urlsplit(value).password or ""
    return {name: value for name, value in found.items() if len(value) >= SHORTEST_CHARACTERS}


def check_texts(texts: Iterable[tuple[str, str]], secrets: Mapping[str, str], subject: str) -> Checked:
    """Texts that people read, each with where it stands."""
    count, violations = 0, []
    patterns = _patterns(secrets)
    for where, text in texts:
        count += 1
        violations += [Violation(where, f"holds {name}") for name in _found(text.encode(), patterns)]
    return Checked(subject, count if secrets else 0, tuple(violations))


def check_files(home: Path, secrets: Mapping[str, str]) -> Checked:
    """Logs, reports, alerts and copies: every file of a state folder that is not a server's own."""
    patterns = _patterns(secrets)
    count, violations = 0, []
    for path in _readable(home):
        count += 1
        named = path.relative_to(home).as_posix()
        violations += [Violation(named, f"holds {name}") for name in _scan(path, patterns)]
    return Checked("files", count if secrets else 0, tuple(violations))


def check_modes(home: Path) -> Checked:
    """The files that may hold a secret are their owner's alone."""
    files = [home / name for name in (CREDENTIALS, STACK_ENV, *SECRET_FILES)]
    files += [path for name in SECRET_FOLDERS if (home / name).is_dir() for path in (home / name).rglob("*")]
    held = [path for path in files if path.is_file() and not path.is_symlink()]
    violations = [
        Violation(path.relative_to(home).as_posix(), f"can be read by others: mode {mode:04o}")
        for path in held
        if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077
    ]
    return Checked("files of credentials", len(held), tuple(violations))


def _readable(home: Path) -> Iterator[Path]:
    own = {home / name for name in (CREDENTIALS, STACK_ENV, *SECRET_FILES)}
    closed = {home / name for name in (*SECRET_FOLDERS, *DATA_FOLDERS)}
    for folder, folders, files in os.walk(home):
        folders[:] = [name for name in folders if Path(folder) / name not in closed]
        for name in files:
            path = Path(folder) / name
            if path not in own and path.is_file() and not path.is_symlink():
                yield path


def _patterns(secrets: Mapping[str, str]) -> list[tuple[str, bytes]]:
    spelled = [(name, form) for name, value in secrets.items() for form in {value, quote(value, safe="")}]
    return [(name, form.encode()) for name, form in spelled]


def _found(content: bytes, patterns: list[tuple[str, bytes]]) -> list[str]:
    return sorted({name for name, form in patterns if form in content})


def _scan(path: Path, patterns: list[tuple[str, bytes]]) -> list[str]:
    found: set[str] = set()
    overlap = max((len(form) for _, form in patterns), default=1) - 1
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(CHUNK_BYTES):
            found.update(_found(tail + chunk, patterns))
            tail = (tail + chunk)[-overlap:] if overlap else b""
    return sorted(found)


def _leaves(document: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _leaves(value, f"{name}#{key}" if "#" not in name else f"{name}.{key}")
    elif isinstance(document, str) and not name.endswith("access_key_id"):  # an identity, shown by design
        yield name, document


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if SECRET_NAME.search(name) or ("://" in value and "@" in value):
            yield name.strip(), value.strip().strip("'\"")
