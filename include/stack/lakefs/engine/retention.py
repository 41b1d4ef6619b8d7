"""What garbage collection needs to know: which addresses are alive, which have expired.

A commit is alive while somebody may still want it back: it is the head of a branch or tagged, or it
was the head of one less than so many days ago. The rule says how many days for each branch; commits
that no branch leads to any more follow the default.

Source: lakeFS, "Garbage collection: retention rules"; tags keep their commits here, which it leaves open.
"""

import time
from collections.abc import Callable, Iterable, Iterator

import msgspec

from include.stack.lakefs.engine import records, staging
from include.stack.lakefs.engine.core import Core
from include.stack.lakefs.engine.ranges import Line, Row
from include.stack.lakefs.engine.records import RepositoryRow
from include.stack.lakefs.engine.store import Transaction
from include.stack.lakefs.model import Commit, RetentionRules

DOCUMENT = "gc_rules"
DAY_S = 24 * 3600


class Retention(Core):
    """Part of the engine: marking for garbage collection. It deletes nothing from the blockstore."""

    def get_retention_rules(self, repository: str) -> RetentionRules | None:
        """Return the repository's rules, None where none were set."""
        with self._reading(repository) as (tx, row):
            return _rules(tx, row.number)

    def set_retention_rules(self, repository: str, rules: RetentionRules) -> None:
        """Replace the repository's rules."""
        body = msgspec.json.encode(rules)
        self._write(repository, lambda tx, row: records.put_document(tx, row.number, DOCUMENT, body))

    def delete_retention_rules(self, repository: str) -> None:
        """Remove the repository's rules: nothing expires any more."""
        self._write(repository, lambda tx, row: records.drop_document(tx, row.number, DOCUMENT))

    def referenced_addresses(self, repository: str) -> Iterator[str]:
        """Yield every address that any commit, staging area or issued upload refers to, once each."""
        with self._reading(repository) as (tx, row):
            seen = set(self._unsettled_addresses(tx, row.number))
            yield from seen
            lines = self._lines(tx, row.number, self._all_commits(tx, row.number).values())
            for address in self._addresses(tx, row.number, lines.values()):
                if address not in seen:
                    seen.add(address)
                    yield address

    def expired_commits(
        self, repository: str, rules: RetentionRules | None = None, *, now: int | None = None
    ) -> set[str]:
        """Return the ids of the commits that are not alive any more; none where there are no rules."""
        with self._reading(repository) as (tx, row):
            commits = self._all_commits(tx, row.number)
            return set(commits) - self._alive(tx, row, commits, rules or _rules(tx, row.number), now)

    def expired_addresses(
        self, repository: str, rules: RetentionRules | None = None, *, now: int | None = None
    ) -> Iterator[str]:
        """Yield addresses that only expired commits refer to, in order.

        Args:
            repository: Repository id.
            rules: In place of the repository's own.
            now: Unix time in seconds in place of now.
        """
        with self._reading(repository) as (tx, row):
            expired = self._expired_addresses(tx, row, rules, now)
        yield from sorted(expired)

    def expire(
        self,
        repository: str,
        owned: Callable[[str], bool],
        rules: RetentionRules | None = None,
        *,
        now: int | None = None,
    ) -> list[str]:
        """Mark the addresses that only expired commits refer to as gone, and return them to be deleted.

        Found and marked in one write transaction, and `stage` refuses a gone address: no object can
        come to refer to bytes that are about to be deleted.

        Args:
            repository: Repository id.
            owned: Whether an address is the lake's to delete.
            rules: In place of the repository's own.
            now: Unix time in seconds in place of now.
        """

        def mark(tx: Transaction, row: RepositoryRow) -> list[str]:
            gone = sorted(filter(owned, self._expired_addresses(tx, row, rules, now)))
            _mark_gone(tx, row.number, gone)
            return gone

        return self._write(repository, mark)

    def mark_gone(self, repository: str, addresses: Iterable[str]) -> None:
        """Record that the bytes at these addresses are deleted, so that reads answer 410."""
        gone = list(addresses)
        self._write(repository, lambda tx, row: _mark_gone(tx, row.number, gone))

    def _expired_addresses(
        self, tx: Transaction, row: RepositoryRow, rules: RetentionRules | None, now: int | None
    ) -> set[str]:
        commits = self._all_commits(tx, row.number)
        alive = self._alive(tx, row, commits, rules or _rules(tx, row.number), now)
        living = self._lines(tx, row.number, (commits[commit_id] for commit_id in alive))
        others = self._lines(tx, row.number, (commits[commit_id] for commit_id in set(commits) - alive))
        dead = [line for range_id, line in others.items() if range_id not in living]
        expired = set(self._addresses(tx, row.number, dead))
        if expired:
            expired.difference_update(self._unsettled_addresses(tx, row.number))
            expired.difference_update(self._addresses(tx, row.number, living.values()))
            gone = tx.execute("SELECT address FROM gone WHERE repository = ?", (row.number,))
            expired.difference_update(address for (address,) in gone)
        return expired

    def _alive(
        self,
        tx: Transaction,
        row: RepositoryRow,
        commits: dict[str, Commit],
        rules: RetentionRules | None,
        now: int | None,
    ) -> set[str]:
        if rules is None:
            return set(commits)
        today = int(time.time()) if now is None else now
        heads: dict[str, int] = {}
        for branch in records.scan_branches(tx, row.number):
            days = rules.branches.get(branch.name, rules.default_retention_days)
            heads[branch.head] = max(days, heads.get(branch.head, days))
        tags = tx.execute("SELECT commit_id FROM tags WHERE repository = ?", (row.number,))
        return {tagged for (tagged,) in tags} | _once_heads(
            commits, heads, rules.default_retention_days, today
        )

    def _all_commits(self, tx: Transaction, number: int) -> dict[str, Commit]:
        ids = tx.execute("SELECT id FROM commits WHERE repository = ?", (number,)).fetchall()
        return {commit_id: self._commit(tx, number, commit_id) for (commit_id,) in ids}

    def _lines(self, tx: Transaction, number: int, commits: Iterable[Commit]) -> dict[bytes, Line]:
        """Return the ranges of the commits' trees by id."""
        trees = {commit.meta_range_id for commit in commits}
        return {
            line.id: line for tree_id in trees for line in self._tree(tx, number, tree_id).metarange.lines
        }

    def _addresses(self, tx: Transaction, number: int, lines: Iterable[Line]) -> Iterator[str]:
        for line in lines:
            yield from map(_address, self._chunks.load_range(tx, number, line.id).rows())

    @staticmethod
    def _unsettled_addresses(tx: Transaction, number: int) -> Iterator[str]:
        """Yield the addresses of uncommitted entries and of issued uploads."""
        for branch in records.scan_branches(tx, number):
            yield from (_address(row) for _, row in staging.scan(tx, branch.tokens) if row is not None)
        for (address,) in tx.execute("SELECT address FROM addresses WHERE repository = ?", (number,)):
            yield address


def _address(row: Row) -> str:
    return row.entry().physical_address


def _rules(tx: Transaction, number: int) -> RetentionRules | None:
    document = records.find_document(tx, number, DOCUMENT)
    return None if document is None else msgspec.json.decode(document.body, type=RetentionRules)


def _mark_gone(tx: Transaction, number: int, addresses: Iterable[str]) -> None:
    tx.executemany("INSERT OR IGNORE INTO gone VALUES (?, ?)", ((number, address) for address in addresses))


def _once_heads(commits: dict[str, Commit], heads: dict[str, int], default_days: int, today: int) -> set[str]:
    """Return the commits that are heads or were heads less than so many days ago.

    Args:
        commits: All commits by id.
        heads: Days for each head of a branch.
        default_days: Days for what no branch leads to: the tips left by deleted branches.
        today: Unix time in seconds.
    """
    first_parents = {commit.parents[0] for commit in commits.values() if commit.parents}
    tips = dict.fromkeys(commits.keys() - first_parents - heads.keys(), default_days)
    young_tips = {tip for tip in tips if commits[tip].creation_date >= today - default_days * DAY_S}
    alive = set(heads) | young_tips
    walked: dict[str, int] = {}
    for start, days in (heads | tips).items():
        commit = commits[start]
        while walked.get(commit.id, -1) < days:
            walked[commit.id] = days
            if not commit.parents:
                break
            if commit.creation_date >= today - days * DAY_S:  # its parent was the head until then
                alive.add(commit.parents[0])
            commit = commits[commit.parents[0]]
    return alive
