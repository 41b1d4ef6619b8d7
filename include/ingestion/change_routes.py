"""Where each change goes: to its table's log, or aside: by itself where its row breaks a rule, and with all
behind it while its shape does not fit the declaration.
"""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.ingestion.batch import Desk
from include.ingestion.change_log import (
    SHAPE,
    ChangeLog,
    by_span,
    held_folder,
    quarantine_folder,
    raw_folder,
    read_shape,
    shape_in,
    shape_text,
    span_name,
)
from include.ingestion.change_rules import ChangeRules
from include.ingestion.connectors.postgres_publication import PublicationError, Relation
from include.ingestion.connectors.postgres_slot import Feed
from include.ingestion.contracts import ContractError, violated
from include.ingestion.owed_values import FILE as OWED
from include.ingestion.owed_values import Owed
from include.ingestion.pgoutput import ChangeBatch, TableShape, lsn_text
from include.ingestion.pgoutput.changes import Layout
from include.ingestion.schema_policy import Misfit, rule_on
from include.lake import checkout, discard, remove, upload
from include.lake.objects import list_objects, read_bytes
from include.spec.capture import Capture, OnSchemaChange
from include.spec.logged import Logged
from include.spec.refs import CommitRef
from include.spec.source import Table

REASON = "_reason.json"


@dataclass
class Routes:
    """The tables of one capture, and where the changes of each go now.

    Args:
        desk: Where.
        feed: What is read.
        capture: The declaration.
        tables: Declared tables, by schema and name in the database.
        released: Folders that got back what was put aside.
        entries: What tells the entry of each table in the publication from any later one, by its number.
    """

    desk: Desk
    feed: Feed
    capture: Capture
    tables: Mapping[Relation, Table]
    released: list[str] = field(default_factory=list)
    entries: dict[int, str] = field(default_factory=dict)
    _kept: dict[str, TableShape] = field(default_factory=dict)
    _aside: dict[str, TableShape] = field(default_factory=dict)
    _written: dict[str, TableShape] = field(default_factory=dict)
    _reasons: dict[str, Misfit] = field(default_factory=dict)
    _rules: dict[str, ChangeRules] = field(default_factory=dict)
    _owed: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, Counter[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for table in self.tables.values():
            if table.rules_of_changes:
                self._rules[table.name] = ChangeRules(table, self.feed.name, Owed())

    def discard(self) -> None:
        """Drop what a try that died left on the draft."""
        for kind in ("raw", "quarantine"):
            discard(self.desk.lake, self.desk.draft, f"{kind}/{self.desk.source.name}")

    def clear(self) -> None:
        """Take all change logs off the draft: of rows that were deleted since, no change would tell."""
        base = CommitRef(self.desk.draft.repository, self.desk.draft.base)
        for table in self.tables.values():
            for folder in (self._raw(table), self._quarantine(table), self._held(table)):
                paths = [stat.path for stat in list_objects(self.desk.lake, base, folder)]
                if paths:
                    remove(self.desk.lake, self.desk.draft, paths)

    def read_shapes(self) -> tuple[TableShape, ...]:
        """The tables as the lake last saw them.

        Raises:
            PublicationError: A table was never loaded.
        """
        lake, draft = self.desk.lake, self.desk.draft
        aside = {stat.path for stat in list_objects(lake, draft, f"quarantine/{self.desk.source.name}")}
        for relation, table in self.tables.items():
            kept = read_shape(lake, draft, self._raw(table))
            if kept is None:
                raise PublicationError(
                    f"Table {'.'.join(relation)} of {self.feed.name} is captured by declaration, but was not "
                    "when the capture began: its rows were never loaded.",
                    remedy="`headrace cdc reset` loads all tables anew; or leave it out of the capture.",
                    table=table.name,
                )
            self._kept[table.name], entry = kept
            self.entries |= {self._kept[table.name].relation_id: entry} if entry else {}
            if f"{self._quarantine(table)}/{SHAPE}" in aside:
                put_aside = read_shape(lake, draft, self._quarantine(table))
                assert put_aside is not None
                self._aside[table.name], _ = put_aside
            owed = f"{self._held(table)}/{OWED}"
            if owed in aside:
                document = read_bytes(lake, draft, owed)
                self._owed[table.name] = document.decode()
                self._rules[table.name] = ChangeRules(table, self.feed.name, Owed.of(document, owed))
        return tuple({**self._kept, **self._aside}.values())

    def check(self, layout: Layout) -> None:
        """Hold a table that is first seen to its declaration.

        Raises:
            ContractError: It does not fit.
        """
        table = self._table(layout.shape)
        rule_on(self.capture.on_schema_change, table, self.feed, None, layout.shape, layout.schema)
        self._kept[table.name] = self._written[self._raw(table)] = layout.shape

    def folder(self, batch: ChangeBatch) -> str:
        """The folder of the lake that changes belong to.

        Raises:
            ContractError: Their shape does not fit the declaration, and the capture says to stop.
            PublicationError: Their table is not captured, or has nothing to tell old rows by.
        """
        table = self._table(batch.shape)
        if table.name in self._aside:
            # What comes behind a change that was put aside follows it, or the order would be lost.
            if not self._aside[table.name].same_as(batch.shape):
                self._put_aside(table, batch.shape)
            return self._quarantine(table)
        kept = self._kept[table.name]
        if not kept.same_as(batch.shape):
            policy, at = self.capture.on_schema_change, lsn_text(batch.data.column("lsn")[0].as_py())
            misfit = rule_on(policy, table, self.feed, kept, batch.shape, batch.data.schema, at)
            if misfit is not None:
                self._reasons[self._quarantine(table)] = misfit
                self._put_aside(table, batch.shape)
                return self._quarantine(table)
            self._kept[table.name] = self._written[self._raw(table)] = batch.shape
        return self._raw(table)

    def write(self, log: ChangeLog, batch: ChangeBatch) -> None:
        """Write changes where they belong, and count them.

        Args:
            log: Of all folders.
            batch: The next changes of a table, but for those that were read as the capture began.

        Raises:
            ContractError: As `folder`, or a row breaks a rule of a table that refuses all for it.
        """
        folder, table = self.folder(batch), self._table(batch.shape)
        if folder == self._raw(table):
            self._write(log, table, batch, rows_in=batch.data.num_rows)
        else:
            log.append(folder, batch)
            self._count(table, rows_in=batch.data.num_rows, quarantined=batch.data.num_rows)

    def _write(self, log: ChangeLog, table: Table, batch: ChangeBatch, rows_in: int) -> None:
        """Write changes of a shape that fits; those that break a rule apart."""
        rules = self._rules.get(table.name)
        if rules is None:
            log.append(self._raw(table), batch)
            self._count(table, rows_in=rows_in, rows=batch.data.num_rows)
            return
        parted = rules.parted(batch)
        log.append(self._raw(table), parted.good)
        held = 0
        if parted.held is not None:
            log.append(self._held(table), parted.held)
            held = parted.held.data.num_rows
        self._count(table, rows_in=rows_in, rows=parted.good.data.num_rows - parted.ends, quarantined=held)

    def _count(self, table: Table, **rows: int) -> None:
        with self._lock:
            self._counts.setdefault(table.name, Counter()).update(rows)

    def logged(self, *, first: bool) -> tuple[Logged, ...]:
        """What became of the changes so far, by table.

        Args:
            first: Whether the logs begin with them.
        """
        return tuple(
            Logged(self._raw(table), of["rows_in"], of["rows"], of["quarantined"], first)
            for table in self.tables.values()
            if (of := self._counts.get(table.name, Counter())) or first
        )

    def check_share(self) -> None:
        """Hold what the tables began with to the share of rows that may break their rules.

        Raises:
            ContractError: More do.
        """
        for table in self.tables.values():
            of = self._counts.get(table.name, Counter[str]())
            if of["quarantined"] > table.quarantine_at_most * of["rows_in"]:
                raise violated(
                    f"database {self.feed.name}, table {table.name}",
                    f"{of['quarantined']:,} of {of['rows_in']:,} rows break the contract",
                    accepted=f"at most {table.quarantine_at_most:.0%}, or another quarantine_at_most",
                    table=table.name,
                )

    def release(self, scratch: Path) -> None:
        """Bring back what was put aside, of tables whose declaration fits it by now.

        Args:
            scratch: A folder of the caller's.

        Raises:
            ContractError: A row among it breaks a rule of a table that refuses all for it.
        """
        for table in self.tables.values():
            if table.name in self._aside:
                own = scratch / f"aside-{table.name}"
                own.mkdir()
                self._release(table, self._raw(table), self._quarantine(table), own)

    def _release(self, table: Table, raw: str, folder: str, scratch: Path) -> None:
        lake, draft = self.desk.lake, self.desk.draft
        with checkout(lake, draft, folder) as files:
            here = {stat.path.rpartition("/")[2]: files.path(stat.path) for stat in files.objects}
            parts = {name: path for name, path in sorted(here.items()) if name.endswith(".parquet")}
            schemas = [pq.read_schema(path) for path in parts.values()]
            if not all(self._fits(table, schema) for schema in schemas):
                return
            there = [stat.path for stat in list_objects(lake, draft, raw)]
            for number, ((first, last), paths) in enumerate(by_span(parts).items()):
                log = ChangeLog(scratch / str(number))
                log.scratch.mkdir()
                for path in paths:
                    self._bring(log, table, path)
                # What came before it in that window is there already.
                before = [path for path in there if path.startswith(f"{raw}/{span_name(first, last)}-")]
                log.stage(lake, draft, first, last, {raw: len(before)})
            remove(lake, draft, [stat.path for stat in files.objects])
        shape = self._aside.pop(table.name)
        self._kept[table.name] = self._written[raw] = shape
        self.released.append(raw)

    def _bring(self, log: ChangeLog, table: Table, path: Path) -> None:
        with pq.ParquetFile(path) as file:
            shape = shape_in(file.schema_arrow)
            for data in file.iter_batches():
                self._count(table, quarantined=-data.num_rows)
                self._write(log, table, ChangeBatch(shape, data), rows_in=0)

    def _fits(self, table: Table, schema: pa.Schema) -> bool:
        policy: OnSchemaChange = "evolve" if self.capture.on_schema_change == "evolve" else "stop"
        try:
            rule_on(policy, table, self.feed, None, shape_in(schema), schema)
        except ContractError:
            return False
        return True

    def write_shapes(self, scratch: Path) -> None:
        """Put what the tables are like by now, and what is known of what was put aside, on the draft.

        Args:
            scratch: A folder of the caller's.
        """
        documents = {
            f"{folder}/{SHAPE}": shape_text(shape, self.entries.get(shape.relation_id, ""))
            for folder, shape in self._written.items()
        }
        documents |= {f"{folder}/{REASON}": _reason_text(why) for folder, why in self._reasons.items()}
        for name, rules in self._rules.items():
            owed, path = rules.owed.document(), f"{self._held(rules.table)}/{OWED}"
            if rules.owed.keys and owed != self._owed.get(name):
                documents[path] = owed
            elif not rules.owed.keys and name in self._owed:
                remove(self.desk.lake, self.desk.draft, [path])
        for number, (path, text) in enumerate(sorted(documents.items())):
            file = scratch / f"document-{number}.json"
            file.write_text(text)
            folder, _, name = path.rpartition("/")
            upload(self.desk.lake, self.desk.draft, {name: file}, folder)

    def _put_aside(self, table: Table, shape: TableShape) -> None:
        self._aside[table.name] = self._written[self._quarantine(table)] = shape

    def _table(self, shape: TableShape) -> Table:
        table = self.tables.get((shape.schema_name, shape.table))
        if table is None:
            raise PublicationError(
                f"Publication {self.feed.publication!r} of {self.feed.name} brings changes of {shape.name}, "
                "which the capture does not declare.",
                remedy="Declare it and begin anew (`headrace cdc reset`), or take it out of the publication "
                "(ALTER PUBLICATION ... DROP TABLE ...). The slot was not moved.",
                table=shape.name,
            )
        return table

    def _raw(self, table: Table) -> str:
        return raw_folder(self.desk.source.name, table.name)

    def _held(self, table: Table) -> str:
        return held_folder(self.desk.source.name, table.name)

    def _quarantine(self, table: Table) -> str:
        return quarantine_folder(self.desk.source.name, table.name)


def _reason_text(misfit: Misfit) -> str:
    document = {"rule": "fits_declaration", "reason": misfit.reason, "since": misfit.lsn}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
