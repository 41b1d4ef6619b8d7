"""Row by row: what keeps its table's contract goes on, what breaks it goes apart with rule and reason.

A batch in which nothing is wrong passes as it is, after a few questions to whole columns.
"""

import functools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.ingestion import contracts
from include.ingestion.decisions import Decision, row_id
from include.ingestion.row_text import MISFIT, batch_of, row_texts
from include.ingestion.rules import Known, breaches
from include.ingestion.snapshot import Part, described, room
from include.spec.source import Table

APART = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("row_number", pa.int64(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
        pa.field("schema_hash", pa.string(), nullable=False),
    ]
)
BETWEEN_RULES = ", "


@dataclass(frozen=True)
class Origin:
    """Where rows come from.

    Args:
        name: The file, or empty for a table that is read as a whole.
        shown: The same for people.
        part: Name of the Parquet file for what goes apart.
        version: Mark of the file's content.
    """

    name: str
    shown: str
    part: str
    version: str = ""


@dataclass(frozen=True)
class Fault:
    """Why one row cannot be published.

    Args:
        rules: Names of what it breaks.
        reason: The same in words.
        text: The row as it arrived, as JSON.
        typed: Whether all its values are of their types, so that it could be taken as it is.
    """

    rules: tuple[str, ...]
    reason: str
    text: str
    typed: bool


class Sieve:
    """One reading of one table.

    Args:
        table: The declaration.
        folder: Where the Parquet files of what goes apart are written.
        decisions: What people decided about rows, by `row_id`.
        known: Values of other tables, for the rules that refer to them.
        remember: Columns whose values other tables refer to.
    """

    def __init__(
        self,
        table: Table,
        folder: Path,
        *,
        decisions: Mapping[str, Decision] | None = None,
        known: Known | None = None,
        remember: Iterable[str] = (),
    ) -> None:
        self.table = table
        self.rows_in = 0
        self.parts: list[Part] = []
        self.broke: Counter[str] = Counter()
        self._folder = folder
        self._decisions = decisions or {}
        # Not `known or {}`: what is known may come to be there while the rows are on their way.
        self._known = {} if known is None else known
        self._schema = contracts.arrow_schema(table)
        self._seen: dict[str, list[pa.Array]] = {column: [] for column in remember}
        self._lock = threading.Lock()

    def passed(self, batches: Iterable[pa.RecordBatch], origin: Origin) -> Iterator[pa.RecordBatch]:
        """The rows that may be published, in their order; the others are written apart.

        Args:
            batches: As connectors give them: in the declared columns, perhaps with `_misfit`.
            origin: Where from.

        Raises:
            ContractError: A row breaks the contract of a table that refuses all for it.
        """
        first = written = 0
        path = self._folder / origin.part
        with ExitStack() as stack:
            writer: pq.ParquetWriter | None = None
            for batch in batches:
                good, apart = self._split(batch, origin, first)
                first += batch.num_rows
                if apart is not None:
                    if writer is None:
                        stack.enter_context(room(path))
                        writer = stack.enter_context(pq.ParquetWriter(path, APART, compression="zstd"))
                    writer.write_batch(apart)
                    written += apart.num_rows
                self._remember(good)
                yield good
        with self._lock:
            self.rows_in += first
            if written:
                self.parts.append(
                    replace(described(path, written), origin=origin.name, version=origin.version)
                )

    def look_at(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Remember the values of rows that are published already and are not read again."""
        for batch in batches:
            self._remember(batch)

    def values(self, column: str) -> pa.Array:
        """The values that published rows have in a remembered column."""
        kind = self._schema.field(column).type
        return pc.unique(pa.chunked_array(self._seen[column], kind)).drop_null()

    @property
    def rows_apart(self) -> int:
        """Rows that were written apart by this reading."""
        return sum(part.rows for part in self.parts)

    def rows_here(self) -> Iterator[dict[str, Any]]:
        """The rows that were written apart by this reading."""
        for part in self.parts:
            yield from pq.read_table(self._folder / part.name).to_pylist()

    def _remember(self, batch: pa.RecordBatch) -> None:
        for column, values in self._seen.items():
            values.append(pc.unique(batch.column(column)))

    def _split(
        self, batch: pa.RecordBatch, origin: Origin, first: int
    ) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        plain = batch.select(self._schema.names) if MISFIT in batch.schema.names else batch
        faults = self._faults(batch)
        if not faults:
            return plain, None
        if self.table.on_violation == "refuse":
            raise _refused(self.table, origin, first, faults)
        kept, put = self._decide(faults)
        left = [index for index in faults if index not in kept and index not in put]
        good = self._joined(plain, faults, kept, put)
        if not left:
            return good, None
        with self._lock:
            self.broke.update(name for index in left for name in faults[index].rules)
        return good, self._apart([faults[index] for index in left], left, origin, first)

    def _faults(self, batch: pa.RecordBatch) -> dict[int, Fault]:
        """What is wrong with which rows of a batch."""
        masks = breaches(self._schema, self.table.rules, batch, self._known)
        misfit = MISFIT in batch.schema.names
        if not masks and not misfit:
            return {}
        plain = batch.select(self._schema.names)
        wrong = [mask for mask, _reason in masks.values()]
        if misfit:
            wrong.append(batch.column(MISFIT).is_valid())
        places = pc.indices_nonzero(functools.reduce(pc.or_, wrong))
        texts = row_texts(plain.take(places))
        told = batch.column(MISFIT).take(places).to_pylist() if misfit else [None] * len(texts)
        broke = {name: mask.take(places).to_pylist() for name, (mask, _) in masks.items()}
        faults = {}
        for place, index in enumerate(places.to_pylist()):
            known = told[place]
            if known is not None:
                faults[index] = Fault((known["rule"],), known["reason"], known["row"], typed=False)
                continue
            names = tuple(name for name, rows in broke.items() if rows[place])
            reasons = "; ".join(masks[name][1] for name in names)
            typed = not any(name.startswith("not_null(") for name in names)
            faults[index] = Fault(names, reasons, texts[place], typed)
        return faults

    def _decide(self, faults: Mapping[int, Fault]) -> tuple[set[int], dict[int, pa.RecordBatch]]:
        """Rows that somebody accepted as they are, and what somebody put in the place of others."""
        if not self._decisions:
            return set(), {}
        kept, put = set(), {}
        for index, fault in faults.items():
            decision = self._decisions.get(row_id(fault.text))
            if decision is None:
                continue
            if decision.action == "accept":
                if fault.typed and set(fault.rules) <= set(decision.rules):
                    kept.add(index)
            elif not self._faults(fixed := batch_of([decision.row], self._schema)):
                put[index] = fixed
        return kept, put

    def _joined(
        self,
        plain: pa.RecordBatch,
        faults: Mapping[int, Fault],
        kept: set[int],
        put: Mapping[int, pa.RecordBatch],
    ) -> pa.RecordBatch:
        """The rows to publish, each where it stood."""
        stays = np.ones(plain.num_rows, bool)
        stays[[index for index in faults if index not in kept]] = False
        good = plain.filter(pa.array(stays))
        if not put:
            return good
        rows = pa.Table.from_batches([good, *put.values()], self._schema)
        order = pc.sort_indices(pa.array(np.concatenate([np.flatnonzero(stays), [*put]])))
        return rows.take(order).combine_chunks().to_batches()[0]

    def _apart(
        self, faults: Sequence[Fault], rows: Sequence[int], origin: Origin, first: int
    ) -> pa.RecordBatch:
        columns = {
            "id": [row_id(fault.text) for fault in faults],
            "rule": [BETWEEN_RULES.join(fault.rules) for fault in faults],
            "reason": [fault.reason for fault in faults],
            "origin": [origin.name or origin.shown] * len(faults),
            "row_number": [first + index + 1 for index in rows],
            "row": [fault.text for fault in faults],
            "schema_hash": [self.table.schema_hash] * len(faults),
        }
        return pa.RecordBatch.from_pydict(columns, schema=APART)


def _refused(
    table: Table, origin: Origin, first: int, faults: Mapping[int, Fault]
) -> contracts.ContractError:
    index, fault = next(iter(sorted(faults.items())))
    more = f" (and {len(faults) - 1} more rows near it)" if len(faults) > 1 else ""
    return contracts.violated(
        origin.shown,
        f"row {first + index + 1:,} breaks {BETWEEN_RULES.join(fault.rules)}: {fault.reason}{more}",
        accepted="rows that keep the contract, or on_violation='quarantine' in the declaration",
        table=table.name,
    )
