"""Staging areas: the uncommitted edits of a branch, newest token first.

A commit seals the branch's token and gives it a fresh one, so that what is written while it runs
belongs to the next commit. Sealed tokens stay readable until a commit has taken them in.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence

from include.stack.lakefs.engine.ranges import Edit, Row
from include.stack.lakefs.engine.store import Transaction


def new_token(tx: Transaction) -> int:
    """Return a token that was never given out before."""
    (token,) = tx.execute("UPDATE tokens SET last = last + 1 RETURNING last").fetchone()
    return int(token)


def put(tx: Transaction, token: int, edits: Iterable[Edit]) -> None:
    """Write edits into a token's staging area, over what it has at their paths."""
    tx.executemany(
        "INSERT OR REPLACE INTO staged VALUES (?, ?, ?, ?)",
        ((token, path, row and row.identity, row and row.record) for path, row in edits),
    )


def find(tx: Transaction, tokens: Sequence[int], path: str) -> Edit | None:
    """Return the newest edit of a path, None if there is none."""
    for token in tokens:
        held = tx.execute(
            "SELECT identity, record FROM staged WHERE token = ? AND path = ?", (token, path)
        ).fetchone()
        if held is not None:
            return _edit(path, *held)
    return None


def scan(tx: Transaction, tokens: Sequence[int], start: str = "") -> Iterator[Edit]:
    """Yield the newest edit of each path from `start` on, in order of path."""
    if len(tokens) == 1:
        yield from _scan_token(tx, tokens[0], start)
        return
    previous = None
    for edit in heapq.merge(*(_scan_token(tx, token, start) for token in tokens), key=lambda edit: edit[0]):
        if edit[0] != previous:
            previous = edit[0]
            yield edit


def _scan_token(tx: Transaction, token: int, start: str) -> Iterator[Edit]:
    rows = tx.execute(
        "SELECT path, identity, record FROM staged WHERE token = ? AND path >= ? ORDER BY path",
        (token, start),
    )
    for path, identity, record in rows:
        yield _edit(path, identity, record)


def _edit(path: str, identity: bytes | None, record: bytes | None) -> Edit:
    if identity is None or record is None:
        return path, None
    return path, Row(path, identity, record)


def holds_any(tx: Transaction, tokens: Sequence[int]) -> bool:
    """Whether any of the tokens has an edit."""
    return any(
        tx.execute("SELECT 1 FROM staged WHERE token = ? LIMIT 1", (token,)).fetchone() for token in tokens
    )


def drop(tx: Transaction, tokens: Iterable[int]) -> None:
    """Forget all edits of the tokens."""
    tx.executemany("DELETE FROM staged WHERE token = ?", ((token,) for token in tokens))


def drop_path(tx: Transaction, token: int, path: str) -> None:
    """Forget a token's edit of a path."""
    tx.execute("DELETE FROM staged WHERE token = ? AND path = ?", (token, path))


def drop_between(tx: Transaction, token: int, start: str, stop: str | None) -> None:
    """Forget a token's edits from a path on, up to another or to the end."""
    if stop is None:
        tx.execute("DELETE FROM staged WHERE token = ? AND path >= ?", (token, start))
    else:
        tx.execute("DELETE FROM staged WHERE token = ? AND path >= ? AND path < ?", (token, start, stop))


def overlay(edits: Iterable[Edit], rows: Iterable[Row]) -> Iterator[Row]:
    """Yield committed rows with the edits upon them, all in order of path."""
    remaining = iter(rows)
    row = next(remaining, None)
    for path, edited in edits:
        while row is not None and row.path < path:
            yield row
            row = next(remaining, None)
        if row is not None and row.path == path:
            row = next(remaining, None)
        if edited is not None:
            yield edited
    if row is not None:
        yield row
        yield from remaining
