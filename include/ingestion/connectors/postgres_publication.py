"""The publication that one lake captures by: whose it is, what it must publish, and making it anew.

Its comment names the lake that it was made for. A first capture that died leaves a publication and a slot
whose snapshot is gone: worthless, but the log piles up behind it. Made for the same lake they may be dropped;
those of another lake may hold what that one has not read yet, and are never touched.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import sql

from include.ingestion.connectors.postgres_slot import PLUGIN, Feed, connected, slot_error
from include.ingestion.pgoutput.errors import CdcError
from include.ingestion.pgoutput.shape import TableShape

Relation = tuple[str, str]

_FOUND = """
    SELECT p.oid::bigint, obj_description(p.oid, 'pg_publication'),
        p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot
    FROM pg_publication p WHERE p.pubname = %s
"""
_RELATIONS = """
    SELECT n.nspname, c.relname, c.oid::bigint, c.relreplident::text, c.relkind::text,
        EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid)
    FROM unnest(%s::text[], %s::text[]) AS wanted(schema_name, name)
    JOIN pg_namespace n ON n.nspname = wanted.schema_name
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
"""
# An entry is made again, or written again, by whatever alters it; xmin tells which transaction wrote it. The
# timeline stands before it: a standby that was promoted goes on in another one, from where it had got to.
_PUBLISHED = """
    SELECT c.oid::bigint, n.nspname, c.relname, t.rowfilter,
        left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
            || format('/%%s:%%s:%%s', p.xmin, r.oid, r.xmin)
    FROM pg_publication p
    JOIN pg_publication_tables t USING (pubname)
    JOIN pg_namespace n ON n.nspname = t.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
    LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
    WHERE p.pubname = %s
"""
_SLOT_OF = "SELECT plugin, active_pid FROM pg_replication_slots WHERE slot_name = %s"


class PublicationError(CdcError):
    """The publication does not say what the lake captures by it."""


def begin_anew(feed: Feed, relations: Sequence[Relation], lake: str, *, claimed: bool = False) -> None:
    """Make the publication for a first capture; what a first capture of the same lake left is dropped.

    Args:
        feed: Names publication and slot.
        relations: Schema and name of each table.
        lake: Which lake captures; kept as the publication's comment.
        claimed: Whether the lake holds a position of that slot, so that it is this lake's by itself.

    Raises:
        PublicationError: The publication is not this lake's, or a table is not there, is no table, or has
            nothing to tell its old rows by.
        SlotError: The slot is not this lake's, or somebody reads it.
        DatabaseError: The server refused.
    """
    with connected(feed) as connection:
        _check_relations(connection, feed, relations)
        with connection.transaction():
            _drop(connection, feed, lake, claimed=claimed)
            _create(connection, feed, relations, lake)


def _drop(connection: psycopg.Connection[Any], feed: Feed, lake: str, *, claimed: bool) -> None:
    found = connection.execute(_FOUND, (feed.publication,)).fetchone()
    slot = connection.execute(_SLOT_OF, (feed.slot,)).fetchone()
    if found is not None and found[1] != _comment(lake):
        raise _not_ours(feed, found[1])
    if slot is not None:
        _check_unread(feed, slot, ours=claimed or found is not None)
        connection.execute("SELECT pg_drop_replication_slot(%s)", (feed.slot,))
    if found is not None:
        connection.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(feed.publication)))


def entries(feed: Feed) -> dict[int, str]:
    """What tells the entry of each table in the publication from any later one, by number of the table.

    Raises:
        DatabaseError: The server cannot be asked.
    """
    with connected(feed) as connection:
        return {row[0]: row[4] for row in connection.execute(_PUBLISHED, (feed.publication,)).fetchall()}


def check_publication(
    feed: Feed, captured: Collection[TableShape], before: Mapping[int, str] = MappingProxyType({})
) -> None:
    """Make sure that the publication brings, and has brought all the time, every change of every table.

    Args:
        feed: Names the publication.
        captured: The tables as the lake knows them.
        before: Their `entries` when their rows were loaded.

    Raises:
        SlotError: The database failed over since, or was restored from a backup.
        PublicationError: It leaves out operations, rows, or a table: one that was dropped, or made again. Or
            it did so for a while, as far as its entries tell.
        DatabaseError: The server cannot be asked.
    """
    with connected(feed) as connection:
        found = connection.execute(_FOUND, (feed.publication,)).fetchone()
        if found is None:
            raise _lost(feed, "does not exist", "It was dropped")
        if not found[2]:
            what = "does not publish all operations, or a partitioned table not as the one that it is"
            raise _lost(feed, what, "It was altered")
        published = {row[0]: row for row in connection.execute(_PUBLISHED, (feed.publication,)).fetchall()}
    for table in captured:
        name = f"{table.schema_name}.{table.table}"
        row = published.get(table.relation_id)
        if row is None:
            raise _lost(feed, f"does not have the table {name} any more", "It was dropped, or made again")
        if (row[1], row[2]) != (table.schema_name, table.table):
            raise PublicationError(
                f"Table {name} of {feed.name} is called {row[1]}.{row[2]} now.",
                remedy=f"Rename it back, or declare the new name and begin anew: {_RESET}",
                table=name,
            )
        if row[3] is not None:
            raise _lost(feed, f"leaves out rows of {name}: WHERE {row[3]}", "It was altered")
        loaded = before.get(table.relation_id, row[4])
        if loaded.partition("/")[0] != row[4].partition("/")[0]:
            raise slot_error(
                feed,
                "is of another timeline of the log than the tables were loaded in",
                "The database failed over or was restored: the lake may hold changes that it lost, and lack "
                f"others. {_RESET}",
            )
        if loaded != row[4]:
            raise _lost(feed, f"is not what it was when {name} was loaded", "It was altered, and back")


_RESET = "`headrace cdc reset` loads the tables anew, from a new slot."


def _check_relations(connection: psycopg.Connection[Any], feed: Feed, relations: Sequence[Relation]) -> None:
    schemas, names = [list(each) for each in zip(*relations, strict=True)]
    found = {(row[0], row[1]): row for row in connection.execute(_RELATIONS, (schemas, names)).fetchall()}
    for relation in relations:
        name, row = ".".join(relation), found.get(relation)
        if row is None or row[4] not in ("r", "p"):
            raise PublicationError(
                f"Database {feed.name} has no table {name}.",
                remedy="Accepted: a table, partitioned or not. Correct the declaration.",
                table=name,
            )
        if row[3] == "n" or (row[3] == "d" and not row[5]):
            raise nothing_to_tell_by(feed, name)


def nothing_to_tell_by(feed: Feed, table: str) -> PublicationError:
    """The error for a table whose updates and deletes would name no row.

    PostgreSQL itself refuses them as soon as such a table is published: the source's own application fails.
    """
    return PublicationError(
        f"Table {table} of {feed.name} has no replica identity: updates and deletes of it name no row, and "
        "PostgreSQL refuses them while it is published.",
        remedy="Give it a primary key, or ALTER TABLE ... REPLICA IDENTITY USING INDEX or FULL; or leave it "
        "out of the capture.",
        table=table,
    )


def _create(
    connection: psycopg.Connection[Any], feed: Feed, relations: Sequence[Relation], lake: str
) -> None:
    name = sql.Identifier(feed.publication)
    tables = sql.SQL(", ").join(sql.Identifier(*relation) for relation in relations)
    create = sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)")
    connection.execute(create.format(name, tables))
    connection.execute(sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(name, sql.Literal(_comment(lake))))


def _comment(lake: str) -> str:
    return f"headrace: changes for {lake}"


def _check_unread(feed: Feed, slot: tuple[Any, ...], *, ours: bool) -> None:
    if not ours or slot[0] != PLUGIN:
        raise slot_error(
            feed,
            "exists already, and nothing says that it was made for this lake",
            "Whoever made it may not have read it yet. If nobody needs it, drop it "
            "(pg_drop_replication_slot); or name another slot in the declaration.",
        )
    if slot[1] is not None:
        raise slot_error(feed, "is in use", f"One reader at a time: end the other one (PID {slot[1]}).")


def _not_ours(feed: Feed, comment: str | None) -> PublicationError:
    return PublicationError(
        f"Publication {feed.publication!r} of {feed.name} was not made for this lake, but for {comment!r}.",
        remedy="Another lake may read by it. If nobody does, drop it and its slot; or name others in the "
        "declaration.",
    )


def _lost(feed: Feed, what: str, why: str) -> PublicationError:
    return PublicationError(
        f"Publication {feed.publication!r} of {feed.name} {what}.",
        remedy=f"{why}: changes may be lost. {_RESET}",
    )
