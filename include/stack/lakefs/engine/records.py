"""Rows of the tables that hold repositories, branches, tags and documents."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.model import Document, NotFound, Repository

_SEALED = msgspec.msgpack.Decoder(tuple[int, ...])
_REPOSITORY = "number, id, storage_namespace, default_branch, creation_date, read_only"


class RepositoryRow(NamedTuple):
    """A repository and its number, which no other ever has, not even one of the same id later."""

    number: int
    repository: Repository


class BranchRow(NamedTuple):
    """A branch: its head, the token that takes writes, and the sealed ones, newest first."""

    name: str
    head: str
    token: int
    sealed: tuple[int, ...]
    hidden: bool

    @property
    def tokens(self) -> tuple[int, ...]:
        """All its staging tokens, newest first."""
        return (self.token, *self.sealed)


def find_repository(tx: Transaction, repository: str) -> RepositoryRow:
    """Return a repository.

    Raises:
        NotFound: There is none of that id.
    """
    row = tx.execute(f"SELECT {_REPOSITORY} FROM repositories WHERE id = ?", (repository,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFound("repository not found", repository=repository)
    return _repository(row)


def scan_repositories(tx: Transaction, after: str) -> Iterator[RepositoryRow]:
    """Yield the repositories whose id is above `after`, by id."""
    query = f"SELECT {_REPOSITORY} FROM repositories WHERE id > ? ORDER BY id"  # noqa: S608
    return map(_repository, tx.execute(query, (after,)))


def _repository(row: tuple[int, str, str, str, int, int]) -> RepositoryRow:
    number, name, storage_namespace, default_branch, creation_date, read_only = row
    return RepositoryRow(
        number, Repository(name, storage_namespace, default_branch, creation_date, bool(read_only))
    )


def find_branch(tx: Transaction, number: int, name: str) -> BranchRow | None:
    """Return a branch of a repository, None if there is none of that name."""
    row = tx.execute(
        "SELECT name, commit_id, token, sealed, hidden FROM branches WHERE repository = ? AND name = ?",
        (number, name),
    ).fetchone()
    return _branch(row) if row is not None else None


def get_branch(tx: Transaction, number: int, name: str) -> BranchRow:
    """Return a branch of a repository.

    Raises:
        NotFound: There is none of that name.
    """
    branch = find_branch(tx, number, name)
    if branch is None:
        raise NotFound("branch not found", branch=name)
    return branch


def scan_branches(tx: Transaction, number: int, after: str = "") -> Iterator[BranchRow]:
    """Yield the branches of a repository from a name on, by name."""
    return map(
        _branch,
        tx.execute(
            "SELECT name, commit_id, token, sealed, hidden FROM branches"
            " WHERE repository = ? AND name >= ? ORDER BY name",
            (number, after),
        ),
    )


def _branch(row: tuple[str, str, int, bytes, int]) -> BranchRow:
    name, head, token, sealed, hidden = row
    return BranchRow(name, head, token, _SEALED.decode(sealed), bool(hidden))


def put_branch(tx: Transaction, number: int, branch: BranchRow) -> None:
    """Store a branch, in place of what it was."""
    tx.execute(
        "INSERT OR REPLACE INTO branches VALUES (?, ?, ?, ?, ?, ?)",
        (
            number,
            branch.name,
            branch.head,
            branch.token,
            msgspec.msgpack.encode(branch.sealed),
            branch.hidden,
        ),
    )


def find_tag(tx: Transaction, number: int, name: str) -> str | None:
    """Return the commit id of a tag, None if there is none of that name."""
    row = tx.execute(
        "SELECT commit_id FROM tags WHERE repository = ? AND name = ?", (number, name)
    ).fetchone()
    return row and str(row[0])


def find_document(tx: Transaction, number: int, name: str) -> Document | None:
    """Return a settings document of a repository, None if it was never set."""
    row = tx.execute(
        "SELECT body, checksum FROM documents WHERE repository = ? AND name = ?", (number, name)
    ).fetchone()
    return Document(*row) if row is not None else None


def put_document(tx: Transaction, number: int, name: str, body: bytes) -> Document:
    """Store a settings document of a repository, in place of what it was."""
    document = Document(body, hashlib.sha256(body).hexdigest())
    tx.execute(
        "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", (number, name, body, document.checksum)
    )
    return document


def drop_document(tx: Transaction, number: int, name: str) -> bool:
    """Delete a settings document of a repository; returns whether there was one."""
    return tx.execute("DELETE FROM documents WHERE repository = ? AND name = ?", (number, name)).rowcount > 0
