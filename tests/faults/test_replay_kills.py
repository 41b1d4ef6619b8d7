"""A replay whose server is killed: what it forgets, it forgets of data and position alike."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from include.demo import operational
from include.demo.complete_journey import Slice
from include.demo.replay import engine
from include.demo.replay.engine import ReplayError, replay
from include.demo.replay.retail import RetailYear
from include.stack import postgres as pg
from include.stack.credentials import password
from include.stack.ports import free_ports
from include.stack.server import running
from tests.integration.replay.conftest import contents

pytestmark = [pytest.mark.faults, pytest.mark.integration]

PART = Slice(households=100)
YEAR = RetailYear(PART)


def applied(dsn: str) -> int:
    """How many transactions the database knows of; 0 while it cannot say."""
    with suppress(psycopg.Error), psycopg.connect(dsn) as connection:
        at = engine.position(connection)
        return 0 if at is None else at.transactions
    return 0


def kill_at(dsn: str, folder: Path, transactions: int) -> None:
    """Kill the server and all that it started, as soon as so many transactions are applied."""
    while applied(dsn) < transactions:
        time.sleep(0.01)
    postmaster = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0]))
    # Each has a group of its own; a server does not start while one of the former is there.
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=30)


def test_a_server_that_is_killed_forgets_data_and_position_alike(tmp_path: Path) -> None:
    access = pg.PostgresAccess(free_ports(1)[0], {role: password() for role in pg.ROLES})
    server, live = pg.server(tmp_path / "pg", access), access.dsn("retail_live")
    total = len(list(YEAR.transactions()))
    for share in (0.1, 0.6):
        with running(server):
            killer = threading.Thread(target=kill_at, args=(live, tmp_path / "pg", int(share * total)))
            killer.start()
            with pytest.raises(ReplayError, match="does not answer") as error:
                replay(live, YEAR)
            killer.join()
            assert access.passwords["retail_live"] not in str(error.value)
    with running(server):
        left = applied(live)
        assert 0 < left < total
        done = replay(live, YEAR)
        assert done.position.transactions == total
        assert done.transactions == total - left
        operational.load(access.dsn("retail"), PART)
        assert contents(live, YEAR.tables) == contents(access.dsn("retail"), YEAR.tables)
