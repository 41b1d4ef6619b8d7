"""Captures killed by SIGKILL at every boundary, and the servers under them: nothing lost, nothing twice.

At every boundary in turn a run dies while the source goes on changing, and is tried again; then the change
logs on main are replayed strictly, and must give the tables of the source. What is staged from such logs, by
runs that die at boundaries of their own, has the hash of the source.
"""

import contextlib
import multiprocessing
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from include.ingestion.capture_feed import held_position
from include.ingestion.cdc import capture, retention
from include.lake import Lake
from include.settings import Settings
from include.stack import lake_server as lakefs
from include.stack import postgres as pg
from include.stack.credentials import KeyPair, password
from include.stack.ports import free_ports
from include.stack.server import Server, identity, inherited_environment, make_folder
from tests.faults.cdc_tries import Death, Ended, Try, serve
from tests.integration.cdc.capturing import DDL, Shop, declared
from tests.integration.staged.staging import hashes, plain, stored

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(600)]

SEEDS = 20
# Whose logs are staged, too: Spark takes longer than all deaths of a seed.
STAGED_SEEDS = 0, 10
# Of each server.
KILLS = 5
SNAPSHOT = Death("include.ingestion.change_log:ChangeLog.append")
BEFORE_WRITE = Death("include.ingestion.change_log:ChangeLog.stage", after=False)
WRITING = Death("include.ingestion.change_log:upload")
WRITTEN = Death("include.ingestion.cdc:write_watermark")
COMMITTED = Death("include.lake.publish:commit_draft")
MERGED = Death("include.lake.publish:_merge")
PUBLISHED = Death("include.ingestion.cdc:advance", after=False)
ADVANCED = Death("include.ingestion.cdc:advance")
BEFORE_TABLES = Death("include.features.staged:upload", after=False)
BETWEEN_TABLES = Death("include.features.staged:stage_table")
BEFORE_COMMIT = Death("include.lake.publish:commit_draft", after=False)


class Tries:
    """The process that tries runs; Spark's scratch files go to the folder."""

    def __init__(self, home: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(theirs, home), daemon=True)
        self._process.start()
        theirs.close()
        self._ours.recv()

    def end(self) -> None:
        self._ours.send(None)
        self._process.join()

    def begin(self, asked: Try) -> None:
        self._ours.send(asked)

    def ended(self) -> Ended:
        ended: Ended = self._ours.recv()
        return ended

    def __call__(self, asked: Try) -> Ended:
        self.begin(asked)
        return self.ended()


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tries]:
    process = Tries(tmp_path_factory.mktemp("tries"))
    yield process
    process.end()


@dataclass
class Killable:
    """A server that is killed, with all its processes, and started again on what it left."""

    server: Server
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, settled: bool = True) -> None:
        server = self.server
        server.prepare()
        make_folder(server.folder, server.user)
        deadline = time.monotonic() + 60
        while True:
            if self.process is None or self.process.poll() is not None:
                # PostgreSQL refuses as long as a process of the former one is there.
                self.process = self._started()
            if server.health():
                break
            assert time.monotonic() < deadline, server.name
            time.sleep(0.05)
        if settled:
            server.settle()

    def _started(self) -> subprocess.Popen[bytes]:
        server = self.server
        with (server.folder / "log").open("ab") as stream:
            return subprocess.Popen(
                server.command,
                cwd=server.folder,
                env={**inherited_environment(), **server.environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                **identity(server.user),
            )

    def fail_over(self) -> None:
        """Come back as a standby that is promoted at once, at the end of the log that it has."""
        data = self.server.folder / "data"
        (data / "recovery.signal").touch(0o600)
        if self.server.user is not None:
            shutil.chown(data / "recovery.signal", self.server.user)
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write("restore_command = 'false'\n")
        self.start(settled=False)

    def kill(self) -> None:
        assert self.process is not None
        leader = psutil.Process(self.process.pid)
        for each in (leader, *leader.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[pg.PostgresAccess, Killable]]:
    access = pg.PostgresAccess(free_ports(1)[0], {role: password() for role in (pg.SUPERUSER, "retail")})
    server = Killable(pg.server(tmp_path_factory.mktemp("postgres"), access))
    server.start()
    yield access, server
    server.kill()


@pytest.fixture(scope="module")
def lake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[lakefs.LakeAccess, Killable]]:
    keys = KeyPair.generate()
    described = lakefs.server(tmp_path_factory.mktemp("lakefs"), free_ports(1)[0], keys, None)
    server = Killable(described)
    server.start()
    yield lakefs.LakeAccess(described.url, keys), server
    server.kill()


@pytest.fixture
def shops(database, lake_server, tmp_path):
    """Makes shops, each with a database and a lake of its own."""
    access, (lake_access, _) = database[0], lake_server
    made = []

    def make() -> Shop:
        name = f"shop_{uuid4().hex[:12]}"
        with psycopg.connect(access.dsn(), autocommit=True) as server:
            names = sql.Identifier(name), sql.Identifier("retail")
            server.execute(sql.SQL("CREATE DATABASE {} OWNER {} STRATEGY FILE_COPY").format(*names))
        settings = Settings(
            home=tmp_path / name,
            lakefs_endpoint=lake_access.endpoint,
            lakefs_access_key_id=lake_access.access_key_id,
            lakefs_secret_access_key=SecretStr(lake_access.secret_access_key),
            lake_repository=name.replace("_", "-"),
            lake_storage_namespace=f"local://lake/{name}",
            retail_dsn=SecretStr(access.dsn("retail", name)),
        )
        connection = psycopg.connect(access.dsn("retail", name), autocommit=True)
        for statement in DDL:
            connection.execute(statement)
        made.append(connection)
        return Shop(connection, Lake.prepare(settings), settings, declared(slot=name, publication=name))

    yield make
    for connection in made:
        connection.close()
    with psycopg.connect(access.dsn(), autocommit=True) as server:
        server.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def live(shop: Shop, chance: random.Random, transactions: int = 4) -> None:
    """The source goes on: a few transactions of inserts, updates, key updates and deletes."""
    for _ in range(transactions):
        with (
            contextlib.suppress(psycopg.errors.UniqueViolation),
            shop.connection.transaction(force_rollback=chance.random() < 0.1),
        ):
            for _ in range(chance.randint(1, 6)):
                _change(shop, chance)


def _change(shop: Shop, chance: random.Random) -> None:
    number, other = chance.randint(1, 40), chance.randint(1, 40)
    story = "".join(chance.choices("abcdefgh", k=chance.choice([5, 4000])))
    changes: list[tuple[Any, ...]] = [
        ("INSERT INTO customers VALUES (%s, %s, %s)", number, f"c{other}", story),
        ("INSERT INTO orders VALUES (%s, %s, %s)", number, other, number / 4),
        ("UPDATE customers SET name = %s WHERE id = %s", f"n{other}", number),
        ("UPDATE customers SET id = %s WHERE id = %s", other, number),
        ("UPDATE orders SET amount = amount + 1 WHERE customer <= %s", other),
        ("DELETE FROM orders WHERE id = %s", number),
        ("DELETE FROM customers WHERE id = %s", number),
        ("TRUNCATE orders",) if chance.random() < 0.1 else ("SELECT 1",),
    ]
    statement, *values = chance.choice(changes)
    shop.execute(statement, values)


def check_slot(shop: Shop) -> None:
    """I6: the slot is nowhere ahead of what main holds."""
    held = held_position(shop.lake, shop.source, shop.lake.head())
    if held is not None:
        assert retention(shop.settings, shop.source).confirmed <= held.lsn


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_capture_killed_at_every_boundary(shops, tries, seed):
    """Each seed meets all boundaries once, those of every window in the first load or in a later one."""
    shop, chance = shops(), random.Random(seed)
    live(shop, chance, 10)
    shop.execute("INSERT INTO customers VALUES (100, 'first', 'x'); INSERT INTO orders VALUES (100, 1, 1)")
    writing = BEFORE_WRITE, WRITING, WRITTEN, COMMITTED, MERGED
    advancing = PUBLISHED, replace(ADVANCED, within_s=chance.uniform(0, 0.006)), ADVANCED
    in_first = {death for death in (*writing, *advancing[:2]) if chance.random() < 0.5}
    first = replace(SNAPSHOT, call=chance.randint(1, 2)), *(death for death in writing if death in in_first)
    then = (*(death for death in (*writing, *advancing) if death not in in_first),)
    behind = (*(death for death in advancing if death in in_first),)
    for run_id, deaths in (("first", first), ("second", behind + then), ("third", ())):
        live(shop, chance)
        shop.execute("UPDATE customers SET name = %s WHERE id = 100", (run_id,))
        for death in deaths:
            ended = tries(Try(shop.settings, shop.source, run_id, death))
            assert ended.killed, (death, ended.error)
            check_slot(shop)
            live(shop, chance, 2)
            shop.execute("UPDATE customers SET name = %s WHERE id = 100", (str(death),))
        ended = tries(Try(shop.settings, shop.source, run_id))
        assert not ended.error, ended.error
        check_slot(shop)
    assert shop.held("customers")
    shop.check()
    if seed in STAGED_SEEDS:
        ended = tries(Try(shop.settings, shop.source, "stage", stages=True))
        assert not ended.error, ended.error
        check_staged(shop)


def check_staged(shop: Shop) -> None:
    """Main's staged tables are the source's, row by row."""
    of_source = {table.name: hashes(shop.held(table.name).values()) for table in shop.source.tables}
    assert {
        table: hashes(plain(stored(shop.lake, f"staged/shop/{table}"))) for table in of_source
    } == of_source


def test_a_staging_killed_at_every_boundary(shops, tries):
    """First of tables that are made, then of those that go on; each new try is of the same run."""
    shop, chance = shops(), random.Random(0)
    made, gone_on = (BEFORE_TABLES, BEFORE_COMMIT, COMMITTED), (BETWEEN_TABLES, MERGED)
    for run_id, deaths in (("made", made), ("gone on", gone_on)):
        live(shop, chance, 20)
        shop.execute("INSERT INTO orders SELECT coalesce(max(id), 0) + 1, 7, 7 FROM orders")
        assert not tries(Try(shop.settings, shop.source, run_id)).error
        shop.check()
        asked = Try(shop.settings, shop.source, run_id, stages=True)
        for death in deaths:
            head = shop.lake.head()
            ended = tries(replace(asked, death=death))
            assert ended.killed, (death, ended.error)
            assert (shop.lake.head() == head) == (death != MERGED), death
        ended = tries(asked)
        assert not ended.error, ended.error
        check_staged(shop)
        head = shop.lake.head()
        for again in (asked, replace(asked, run_id=f"{run_id} again")):
            ended = tries(again)
            assert not ended.error, ended.error
        assert shop.lake.head() == head, "the tables are there"


@pytest.mark.parametrize("which", ["database", "lake"])
def test_a_capture_whose_server_is_killed(shops, tries, database, lake_server, which):
    """The server dies at some moment of a run and comes back; what became of the run, it is tried again."""
    shop, chance = shops(), random.Random(which)
    server = database[1] if which == "database" else lake_server[1]
    live(shop, chance, 10)
    failed = 0
    for number in range(KILLS):
        live(shop, chance)
        asked = Try(shop.settings, shop.source, f"run-{number}")
        tries.begin(asked)
        time.sleep(chance.uniform(0, 0.3))
        server.kill()
        server.start()
        failed += bool(tries.ended().error)
        if which == "database":
            shop.connection = psycopg.connect(shop.settings.retail_dsn.get_secret_value(), autocommit=True)
        live(shop, chance, 1)
        ended = tries(asked)
        assert not ended.error, ended.error
        check_slot(shop)
    ended = tries(Try(shop.settings, shop.source, "last"))
    assert not ended.error, ended.error
    shop.check()
    # The lake is patient: its clients wait until it is back.
    assert failed if which == "database" else not failed


def test_a_database_that_failed_over_stops_loudly(shops, tries, database):
    """A promoted standby may have lost what the lake has, and its positions would be taken for ours."""
    shop, chance = shops(), random.Random(0)
    live(shop, chance, 10)
    assert not tries(Try(shop.settings, shop.source, "first")).error
    database[1].kill()
    database[1].fail_over()
    with psycopg.connect(database[0].dsn(), autocommit=True) as server:
        deadline = time.monotonic() + 30
        while server.execute("SELECT pg_is_in_recovery()").fetchall() != [(False,)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    shop.connection = psycopg.connect(shop.settings.retail_dsn.get_secret_value(), autocommit=True)
    live(shop, chance)
    head = shop.lake.head()
    ended = tries(Try(shop.settings, shop.source, "second"))
    assert "another timeline" in ended.error
    assert "headrace cdc reset" in ended.error
    assert shop.lake.head() == head
    desk = shop.open()
    capture(desk, anew=True)
    shop.publish(desk.draft)
    live(shop, chance)
    assert not tries(Try(shop.settings, shop.source, "third")).error
    shop.check()
