"""Where each change goes: to its table's log, or aside while its shape does not fit the declaration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.ingestion.batch import Desk
from include.ingestion.change_log import (
    SHAPE,
    quarantine_folder,
    raw_folder,
    read_shape,
    shape_in,
    shape_text,
)
from include.ingestion.connectors.postgres_publication import PublicationError, Relation
from include.ingestion.connectors.postgres_slot import Feed
from include.ingestion.contracts import ContractError
from include.ingestion.pgoutput import ChangeBatch, TableShape, lsn_text
from include.ingestion.pgoutput.changes import Layout
from include.ingestion.schema_policy import Misfit, rule_on
from include.lake import checkout, discard, remove, upload
from include.lake.objects import list_objects
from include.spec.capture import Capture, OnSchemaChange
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

    def discard(self) -> None:
        """Drop what a try that died left on the draft."""
        for kind in ("raw", "quarantine"):
            discard(self.desk.lake, self.desk.draft, f"{kind}/{self.desk.source.name}")

    def clear(self) -> None:
        """Take all change logs off the draft: of rows that were deleted since, no change would tell."""
        base = CommitRef(self.desk.draft.repository, self.desk.draft.base)
        for table in self.tables.values():
            for folder in (self._raw(table), self._quarantine(table)):
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

    def release(self) -> None:
        """Bring back what was put aside, of tables whose declaration fits it by now."""
        for table in self.tables.values():
            if table.name in self._aside:
                self._release(table, self._raw(table), self._quarantine(table))

    def _release(self, table: Table, raw: str, folder: str) -> None:
        lake, draft = self.desk.lake, self.desk.draft
        with checkout(lake, draft, folder) as files:
            here = {stat.path.rpartition("/")[2]: files.path(stat.path) for stat in files.objects}
            parts = {name: path for name, path in sorted(here.items()) if name.endswith(".parquet")}
            schemas = [pq.read_schema(path) for path in parts.values()]
            if not all(self._fits(table, schema) for schema in schemas):
                return
            upload(lake, draft, parts, raw)
            remove(lake, draft, [stat.path for stat in files.objects])
        shape = self._aside.pop(table.name)
        self._kept[table.name] = self._written[raw] = shape
        self.released.append(raw)

    def _fits(self, table: Table, schema: pa.Schema) -> bool:
        policy: OnSchemaChange = "evolve" if self.capture.on_schema_change == "evolve" else "stop"
        try:
            rule_on(policy, table, self.feed, None, shape_in(schema), schema)
        except ContractError:
            return False
        return True

    def write_shapes(self, scratch: Path) -> None:
        """Put what the tables are like by now, and why some were put aside, on the draft.

        Args:
            scratch: A folder of the caller's.
        """
        documents = {
            f"{folder}/{SHAPE}": shape_text(shape, self.entries.get(shape.relation_id, ""))
            for folder, shape in self._written.items()
        }
        documents |= {f"{folder}/{REASON}": _reason_text(why) for folder, why in self._reasons.items()}
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

    def _quarantine(self, table: Table) -> str:
        return quarantine_folder(self.desk.source.name, table.name)


def _reason_text(misfit: Misfit) -> str:
    document = {"rule": "fits_declaration", "reason": misfit.reason, "since": misfit.lsn}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
