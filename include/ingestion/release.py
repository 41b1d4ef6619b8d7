"""Out of quarantine: rows that a person accepts, rows with corrected values, and rows under another contract.

All three put the rows that the lake holds of a table, published and apart, through its contract once more.
Nothing is asked of the source, which may not have them any more.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.ingestion import contracts
from include.ingestion.batch import Desk, Values, land_table
from include.ingestion.decisions import Decision, decisions_path, render_decisions
from include.ingestion.quarantine import Reading, quarantine_folder, read_decisions, read_manifest
from include.ingestion.read_again import held_origins, read_again
from include.ingestion.sieve import BETWEEN_RULES
from include.ingestion.snapshot import FOLDER, Manifest, Part
from include.lake import Lake, checkout, read_watermark, upload, write_watermark
from include.spec.contract import References
from include.spec.errors import HeadraceError
from include.spec.refs import CommitRef, Landed
from include.spec.source import Source, Table

# Their values are not of their types: no decision can make them fit, only other values.
_NOT_TYPED = ("type(", "not_null(", "columns", "encoding")


class ReleaseError(HeadraceError):
    """Rows cannot leave quarantine in the way that was asked for; nothing was changed."""


@dataclass(frozen=True)
class Choice:
    """Which rows of a table's quarantine, and on whose word.

    Args:
        who: Whose decision it is.
        why: The reason.
        ids: Names of the rows; empty for all.
        rule: Rows that break this rule; empty for any.
    """

    who: str
    why: str
    ids: tuple[str, ...] = ()
    rule: str = ""

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the quarantine is chosen."""
        of_rule = not self.rule or self.rule in row["rule"].split(BETWEEN_RULES)
        return of_rule and (not self.ids or row["id"] in self.ids)


def rows_apart(lake: Lake, at: CommitRef, source: Source, table: Table) -> list[dict[str, Any]]:
    """What is apart of a table's snapshot at a commit."""
    folder = quarantine_folder(source.name, table.name)
    manifest = read_manifest(lake, at, folder)
    rows: list[dict[str, Any]] = []
    for part in manifest.parts if manifest else ():
        with checkout(lake, at, f"{folder}/{part.name}") as files:
            rows += pq.read_table(files.path(f"{folder}/{part.name}")).to_pylist()
    return rows


def has_snapshot(lake: Lake, at: CommitRef, source: Source, table: Table) -> bool:
    """Whether a table was ever read whole: one that is only captured is not."""
    return read_manifest(lake, at, f"{source.prefix(table.name)}/{FOLDER}") is not None


def release(desk: Desk, table: Table, choice: Choice) -> Landed:
    """Publish chosen rows as they are, with the decision of a person recorded beside them.

    Args:
        desk: Where; a fresh draft.
        table: The declaration.
        choice: Which rows, and on whose word.

    Raises:
        ReleaseError: No row is chosen, or one has values that are not of their types.
        ContractError: The lake does not have what the declaration wants by now.
    """
    rows = [row for row in _apart(desk, table) if choice.holds(row)]
    _check_chosen(desk, table, choice, rows)
    unfit = [row for row in rows if row["rule"].startswith(_NOT_TYPED)]
    if unfit:
        raise ReleaseError(
            f"{len(unfit)} of {len(rows)} rows cannot be taken as they are: {unfit[0]['reason']}.",
            remedy="Give them other values: headrace quarantine replay --corrections FILE.",
            table=table.name,
            row=unfit[0]["id"],
        )
    decided = [_decision(row, choice, "accept", "") for row in rows]
    return _decide(desk, table, decided, {row["origin"] for row in rows})


def correct(desk: Desk, table: Table, corrections: Mapping[str, Mapping[str, Any]], choice: Choice) -> Landed:
    """Publish rows with other values, with the decision of a person recorded beside them.

    Args:
        desk: Where; a fresh draft.
        table: The declaration.
        corrections: By the row's id, the columns that are wrong, with the right values.
        choice: On whose word.

    Raises:
        ReleaseError: A row or a column is not there, or a row breaks the contract still.
        ContractError: The lake does not have what the declaration wants by now.
    """
    declared = [column.name for column in table.columns]
    for number, values in corrections.items():
        if strange := sorted(set(values) - set(declared)):
            raise ReleaseError(
                f"The correction of row {number} names {', '.join(map(repr, strange))}.",
                remedy=f"Accepted: {', '.join(declared)}.",
                table=table.name,
            )
    rows = [row for row in _apart(desk, table) if row["id"] in corrections]
    wanted = Choice(choice.who, choice.why, tuple(corrections))
    _check_chosen(desk, table, wanted, rows)
    decided = []
    for row in rows:
        was = json.loads(row["row"])
        right = {name: was.get(name) for name in declared} | dict(corrections[row["id"]])
        decided.append(_decision(row, choice, "correct", json.dumps(right, ensure_ascii=False)))
    return _decide(desk, table, decided, {row["origin"] for row in rows})


def replay(desk: Desk, table: Table) -> Landed:
    """Put all rows that the lake holds of a table through its contract as it is declared now.

    Raises:
        ReleaseError: The table has no snapshot yet.
        ContractError: The lake does not have what the declaration wants by now.
    """
    return _read_again(desk, table, None)


def _apart(desk: Desk, table: Table) -> list[dict[str, Any]]:
    return rows_apart(desk.lake, CommitRef(desk.draft.repository, desk.draft.base), desk.source, table)


def _check_chosen(desk: Desk, table: Table, choice: Choice, rows: Sequence[Mapping[str, Any]]) -> None:
    missing = sorted(set(choice.ids) - {row["id"] for row in rows})
    if rows and not missing:
        return
    what = f"rows {', '.join(missing[:5])}" if missing else "such rows"
    raise ReleaseError(
        f"The quarantine of {table.name} holds no {what}.",
        remedy=f"`headrace quarantine show {desk.source.name} {table.name}` lists what it holds.",
        table=table.name,
    )


def _decision(row: Mapping[str, Any], choice: Choice, action: Any, text: str) -> Decision:
    rules = tuple(row["rule"].split(BETWEEN_RULES))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Decision(row["id"], action, rules, row["row"], text, choice.who, choice.why, now)


def _decide(desk: Desk, table: Table, decided: Sequence[Decision], origins: set[str]) -> Landed:
    """Record decisions on the draft, and read again what they are about."""
    held = dict(read_decisions(desk.lake, desk.draft, desk.source.name, table.name))
    decisions = held | {one.id: one for one in decided}
    folder, _, name = decisions_path(desk.source.name, table.name).rpartition("/")
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / name
        file.write_bytes(render_decisions(decisions.values()))
        upload(desk.lake, desk.draft, {name: file}, folder)
    return _read_again(desk, table, origins, expected={one.id for one in decided})


def _read_again(
    desk: Desk, table: Table, origins: set[str] | None, expected: set[str] | None = None
) -> Landed:
    at = CommitRef(desk.draft.repository, desk.draft.base)
    if not has_snapshot(desk.lake, at, desk.source, table):
        raise ReleaseError(f"{table.name} has no snapshot yet.", remedy="Run its ingestion first.")

    def write(folder: Path, base: Manifest | None, reading: Reading) -> Manifest:
        assert base is not None
        again = None if base.contract != table.contract_hash else origins
        parts: list[Part] = []
        for number, held in enumerate(held_origins(base, reading.base)):
            if again is not None and held.origin and held.origin not in again:
                reading.keep([held.origin])
                parts += held.published
                continue
            parts += read_again(desk.lake, desk.draft, desk.source, table, held, reading, folder, number)
        _check_gone(table, expected or set(), reading)
        return Manifest(table.contract_hash, tuple(parts))

    landed = land_table(desk, table, write, _position(desk, table), _known(desk, table))
    if landed.changed:
        write_watermark(desk.lake, desk.draft, desk.source.name, landed.position)
    return landed


def _check_gone(table: Table, expected: set[str], reading: Reading) -> None:
    """Every row that was decided about must have left."""
    left = [row for row in reading.sieve.rows_here() if row["id"] in expected]
    if left:
        raise ReleaseError(
            f"{len(left)} of {len(expected)} rows break the contract still: {left[0]['reason']}.",
            remedy="Correct these values, too; nothing was published.",
            table=table.name,
            row=left[0]["id"],
        )


def _known(desk: Desk, table: Table) -> Values:
    """Values that the table's rules refer to, as the lake holds them."""
    at = CommitRef(desk.draft.repository, desk.draft.base)
    known: Values = {}
    for rule in table.rules:
        if isinstance(rule, References):
            name, column = rule.target
            folder = f"{desk.source.prefix(name)}/{FOLDER}"
            with checkout(desk.lake, at, folder) as files:
                parts = sorted(files.path(folder).glob("*.parquet"))
                values = [pq.read_table(part, columns=[column]).column(column) for part in parts]
                chunks = [chunk for value in values for chunk in value.chunks]
                kind = contracts.arrow_type(desk.source.table(name).column(column))
                known[rule.target] = pc.unique(pa.chunked_array(chunks, kind)).drop_null()
    return known


def _position(desk: Desk, table: Table) -> Callable[[Manifest], tuple[str, str]]:
    """How far the source was read is as before; a snapshot's position names its content."""
    watermark = read_watermark(desk.lake, desk.draft, desk.source.name)
    held = {position.table: position for position in watermark.positions} if watermark else {}
    before = held.get(table.name)

    def position(manifest: Manifest) -> tuple[str, str]:
        if before is None or before.kind == "snapshot":
            return "snapshot", manifest.digest
        return before.kind, before.value

    return position
