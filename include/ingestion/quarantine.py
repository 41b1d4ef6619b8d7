"""Rows that broke their contract, as they rest in the lake beside the snapshot that they are missing from.

`quarantine/<source>/<table>/<run>-<nnnnn>.parquet` beside `_manifest.json`, one file per origin. Snapshot and
quarantine change in one commit, and together they always hold every row that was read: a row leaves one of
them by entering the other.
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from include.ingestion import contracts
from include.ingestion.decisions import Decision, decisions_path, parse_decisions
from include.ingestion.rules import Known
from include.ingestion.sieve import Origin, Sieve
from include.ingestion.snapshot import MANIFEST, Manifest, Part
from include.lake import Lake, discard, upload
from include.lake.objects import Ref, read_bytes, stat_or_none
from include.lake.remove import remove
from include.spec.contract import References
from include.spec.logged import Logged
from include.spec.refs import CommitRef, DraftRef, Landed
from include.spec.source import Source, Table

BALANCE_KEY = "balance"


@dataclass(frozen=True)
class Balance:
    """What became of the rows of one reading: `rows_in` is published and quarantined, and nothing else.

    Args:
        rows_in: Rows that were read, and those of files that were kept.
        quarantined: Rows of them that went apart.
        changed: Whether the quarantine differs from that of main.
    """

    rows_in: int
    quarantined: int
    changed: bool


class Reading:
    """One reading of one table, as far as its quarantine goes.

    Args:
        lake: Where.
        draft: What `open_draft` returned.
        source: The declaration of the source.
        table: The declaration of the table.
        local: An empty folder of the caller's.
        known: Values of other tables, for the rules that refer to them.
    """

    def __init__(
        self, lake: Lake, draft: DraftRef, source: Source, table: Table, local: Path, known: Known
    ) -> None:
        self._lake, self._draft, self._table, self._local = lake, draft, table, local
        self.folder = quarantine_folder(source.name, table.name)
        discard(lake, draft, self.folder)
        self.base = read_manifest(lake, CommitRef(draft.repository, draft.base), self.folder)
        self.sieve = Sieve(
            table,
            local,
            decisions=read_decisions(lake, draft, source.name, table.name),
            known=known,
            remember=referred_columns(source, table),
        )
        self._kept: list[Part] = []

    def origin(self, shown: str, number: int = 0, *, name: str = "", version: str = "") -> Origin:
        """What the sieve needs to know of where rows come from.

        Args:
            shown: For people.
            number: Of the origin, in this reading.
            name: Of the file; empty where the table is read as a whole.
            version: Mark of the file's content.
        """
        return Origin(name, shown, f"{self._draft.branch}-{number:05d}.parquet", version)

    def keep(self, origins: Iterable[str]) -> None:
        """Carry over what is apart of files that are not read again."""
        wanted = set(origins)
        parts = self.base.parts if self.base else ()
        self._kept += [part for part in parts if part.origin in wanted]

    def settle(self, published: Manifest, before: Manifest | None) -> Balance:
        """Put what went apart on the draft, in place of what main has there.

        Args:
            published: The snapshot that was written.
            before: The snapshot that main has; files that both have were not read.

        Raises:
            ContractError: More rows break the contract than may.
        """
        written = sorted([*self._kept, *self.sieve.parts], key=lambda part: part.origin)
        manifest = Manifest(self._table.contract_hash, tuple(written))
        held = {part.name for part in before.parts} if before else set()
        fresh = sum(part.rows for part in published.parts if part.name not in held)
        total = published.rows + manifest.rows
        rows_in = self.sieve.rows_in + published.rows - fresh + sum(part.rows for part in self._kept)
        assert rows_in == total, f"{rows_in} rows were read, and {total} are published or apart"
        self._check_share(manifest.rows, total)
        was = self.base.digest if self.base else None
        changed = was != (manifest.digest if manifest.parts else None)
        if changed:
            self._stage(manifest)
        return Balance(rows_in, manifest.rows, changed)

    def _stage(self, manifest: Manifest) -> None:
        held = {part.name for part in self.base.parts} if self.base else set()
        names = {part.name for part in manifest.parts}
        gone = held - names
        if manifest.parts:
            (self._local / MANIFEST).write_text(manifest.to_json())
            files = {name: self._local / name for name in [*sorted(names - held), MANIFEST]}
            upload(self._lake, self._draft, files, self.folder)
        else:
            gone |= {MANIFEST}
        remove(self._lake, self._draft, [f"{self.folder}/{name}" for name in sorted(gone)])

    def _check_share(self, apart: int, total: int) -> None:
        if apart <= self._table.quarantine_at_most * total:
            return
        counts = ", ".join(f"{rule}: {rows:,}" for rule, rows in self.sieve.broke.most_common(3))
        raise contracts.violated(
            self.folder.replace("quarantine/", "raw/", 1),
            f"{apart:,} of {total:,} rows break the contract ({counts})",
            accepted=f"at most {self._table.quarantine_at_most:.0%}, or another quarantine_at_most",
            table=self._table.name,
        )


def balance_metadata(counted: Iterable[Landed | Logged]) -> dict[str, str]:
    """What a commit says of rows, or of changes: how many came in, were published, and went apart, by table.

    Args:
        counted: The tables, or change logs, of the commit. Of a log it is what this commit added; of a table
            all that main holds.
    """
    balance = {one.table: _counted(one) for one in counted}
    return {BALANCE_KEY: json.dumps(balance, sort_keys=True, separators=(",", ":"))}


def _counted(one: Landed | Logged) -> dict[str, int]:
    rows = {"in": one.rows_in, "published": one.rows, "quarantined": one.quarantined}
    begins = isinstance(one, Logged) and one.first
    return rows | {"first": 1} if begins else rows


def quarantine_folder(source: str, table: str) -> str:
    """Where the rows of a table's snapshot lie that broke its contract."""
    return f"quarantine/{source}/{table}"


def whole(table: Table) -> str:
    """How a table is called as an origin that is read as a whole."""
    return f"{table.read.origin}: {table.name}"


def read_manifest(lake: Lake, ref: Ref, folder: str) -> Manifest | None:
    """What a snapshot, or its quarantine, holds; None where there is none."""
    path = f"{folder}/{MANIFEST}"
    if stat_or_none(lake, ref, path) is None:
        return None
    return Manifest.from_json(read_bytes(lake, ref, path).decode())


def read_decisions(lake: Lake, ref: Ref, source: str, table: str) -> Mapping[str, Decision]:
    """What people decided about rows of a table, by `row_id`.

    Raises:
        DecisionsError: The record is not one of ours.
    """
    path = decisions_path(source, table)
    if stat_or_none(lake, ref, path) is None:
        return {}
    return parse_decisions(read_bytes(lake, ref, path), path)


def referred_columns(source: Source, table: Table) -> tuple[str, ...]:
    """Columns of a table that rules of other tables look up values in."""
    rules = itertools.chain.from_iterable(other.rules for other in source.tables)
    targets = {rule.target for rule in rules if isinstance(rule, References)}
    return tuple(sorted(column for name, column in targets if name == table.name))
