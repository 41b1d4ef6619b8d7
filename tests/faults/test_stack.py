"""The stack when things go wrong around it: kills, orphans, power cuts, taken ports, full disks.

A small stack (PostgreSQL, the object store, the lake server) serves where Airflow would add nothing.
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from include.stack import inventory, processes, start
from include.stack import postgres as pg
from include.stack.logs import tail
from include.stack.ports import LOOPBACK, free_ports, is_free
from include.stack.server import StackError, identity
from include.stack.state import State
from include.stack.status import ServerStatus, status
from include.stack.supervisor import Supervisor, socket_path

pytestmark = [pytest.mark.integration, pytest.mark.faults]

SMALL = ("postgres", "seaweedfs", "lakefs")
EVERY = (*SMALL, "mlflow", *inventory.GROUPS["airflow"])


def start_small(home: Path) -> State:
    return start.up(home, only=SMALL, choose_free_ports=True)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for a stack; whatever runs in it at the end is stopped."""
    folder = tmp_path / "home"
    try:
        yield folder
    finally:
        start.down(folder)
        assert processes.marked(folder.resolve()) == []


def of(home: Path, name: str) -> ServerStatus:
    return next(row for row in status(home) if row.name == name)


def wait_replaced(home: Path, name: str, pid: int, timeout_s: float = 90) -> float:
    """Seconds until another process than `pid` answers as server `name`."""
    began = time.monotonic()
    while time.monotonic() - began < timeout_s:
        row = of(home, name)
        if row.state == "healthy" and row.pid != pid:
            return time.monotonic() - began
        time.sleep(0.1)
    raise AssertionError(f"{name} did not come back: {of(home, name)}")


def is_apart(process: psutil.Process, group: int) -> bool:
    """Whether it lives in another process group; those of PostgreSQL have one each."""
    try:
        return process.name() != "postgres" and os.getpgid(process.pid) != group
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False  # such as one that read a DAG file, and has read it


def write_rows(state: State, n: int) -> None:
    with psycopg.connect(state.postgres.dsn("retail"), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (i int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, %s)", (n,))


def count_rows(state: State) -> int:
    with psycopg.connect(state.postgres.dsn("retail")) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def lake(state: State) -> httpx.Client:
    return httpx.Client(
        base_url=f"{state.lake.endpoint}/api/v1/repositories/lake",
        auth=(state.lake.access_key_id, state.lake.secret_access_key),
        trust_env=False,
        timeout=30,
    )


def store_in_lake(state: State, branch: str) -> None:
    with lake(state) as client:
        client.post("/branches", json={"name": branch, "source": "main"}).raise_for_status()
        path = {"path": "a/b"}
        client.post(f"/branches/{branch}/objects", params=path, content=b"kept").raise_for_status()
        client.post(f"/branches/{branch}/commits", json={"message": "keep"}).raise_for_status()


def read_from_lake(state: State, branch: str) -> bytes:
    with lake(state) as client:
        return client.get(f"/refs/{branch}/objects", params={"path": "a/b"}).raise_for_status().content


@pytest.mark.parametrize("name", EVERY)
def test_a_killed_server_comes_back_with_all_it_had(stack: State, name: str) -> None:
    write_rows(stack, 10)
    store_in_lake(stack, f"before-{name}")
    rows, pid = count_rows(stack), of(stack.home, name).pid
    others = {row.name: row.pid for row in status(stack.home) if row.name in SMALL and row.name != name}
    os.kill(pid, signal.SIGKILL)
    seconds = wait_replaced(stack.home, name, pid)
    print(f"{name} killed, back after {seconds:.1f} s")
    assert count_rows(stack) == rows
    assert read_from_lake(stack, f"before-{name}") == b"kept"
    assert {row.name: row.pid for row in status(stack.home) if row.name in others} == others
    left = [process for process, of_server in processes.marked(stack.home) if of_server == name]
    group = os.getpgid(of(stack.home, name).pid)
    strangers = [process for process in left if is_apart(process, group)]
    assert strangers == [], "what the killed process had started is gone too"


def test_a_server_that_hangs_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SILENCE_S", "15")
    start_small(home)
    before = {row.name: row.pid for row in status(home)}
    watched = f"lakefs (pid {before['lakefs']}) answers"
    assert any(watched in line for line in tail(home, "watcher", follow=True))
    os.kill(before["lakefs"], signal.SIGSTOP)
    try:
        wait_replaced(home, "lakefs", before["lakefs"])
    finally:
        if psutil.pid_exists(before["lakefs"]):
            os.kill(before["lakefs"], signal.SIGCONT)
    killed = f"lakefs (pid {before['lakefs']}) is alive and does not answer: killing it"
    assert killed in "\n".join(tail(home, "watcher"))
    assert of(home, "seaweedfs").pid == before["seaweedfs"]


def test_orphans_of_a_killed_supervisor_are_replaced(home: Path) -> None:
    state = start_small(home)
    write_rows(state, 7)
    store_in_lake(state, "kept")
    before = {row.name: row.pid for row in status(home) if row.name in SMALL}
    supervisord = next(process for process, name in processes.marked(home) if name == "supervisord")
    supervisord.kill()
    supervisord.wait()
    assert psutil.pid_exists(before["postgres"]), "an orphan is left to be dealt with"
    again = start_small(home)
    assert again.ports == state.ports
    assert not any(psutil.pid_exists(pid) for pid in before.values())
    assert {name: of(home, name).state for name in SMALL} == dict.fromkeys(SMALL, "healthy")
    assert count_rows(again) == 7
    assert read_from_lake(again, "kept") == b"kept"


def test_a_power_cut_is_survived(home: Path) -> None:
    state = start_small(home)
    write_rows(state, 7)
    store_in_lake(state, "kept")
    processes.stop(processes.marked(home), grace_s=0)
    assert processes.marked(home) == []
    # After a boot the old pid is some other program of the same user.
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    user = pg.ROOT_RUNS_AS if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "600"], cwd="/", **identity(user)) as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        assert Supervisor(state).socket.exists()
        try:
            again = start_small(home)
        finally:
            stranger.kill()
    assert count_rows(again) == 7
    assert read_from_lake(again, "kept") == b"kept"


def test_two_stacks_run_side_by_side(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "a much longer path, with blanks and 100%" / ("x" * 60)
    try:
        one, two = start_small(home), start_small(other)
        assert len(str(socket_path(other))) < 100 < len(str(other))
        assert set(one.ports.values()) & set(two.ports.values()) == set()
        write_rows(one, 1)
        write_rows(two, 2)
        assert (count_rows(one), count_rows(two)) == (1, 2)
        start.down(other)
        assert {name: of(home, name).state for name in SMALL} == dict.fromkeys(SMALL, "healthy")
        assert {row.state for row in status(other)} == {"stopped"}
    finally:
        start.down(other)


def test_down_leaves_nothing_and_up_remembers(home: Path) -> None:
    state = start_small(home)
    write_rows(state, 3)
    tree = [process for process, _ in processes.marked(home)]
    assert {name for _, name in processes.marked(home)} == {"supervisord", *SMALL}
    assert len(tree) > len(SMALL) + 2, "the supervisor and its watcher, and the children of PostgreSQL"
    assert start.down(home) == 0, "the supervisor stopped all by itself"
    assert [process for process in tree if process.is_running()] == []
    assert all(is_free(port) for port in state.ports.values())
    assert start.down(home) == 0
    again = start.up(home, only=("postgres",))
    assert (again.ports, again.credentials) == (state.ports, state.credentials)
    assert count_rows(again) == 3
    assert of(home, "lakefs").state == "stopped"


def test_a_taken_port_is_named_with_its_server_and_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_ports(1)[0]
    monkeypatch.setenv("HEADRACE_LAKEFS_PORT", str(port))
    with socket.create_server((LOOPBACK, port)), pytest.raises(StackError) as error:
        start_small(home)
    assert str(port) in error.value.message
    assert "lakefs" in error.value.message
    assert f"pid {os.getpid()}" in error.value.message
    assert "HEADRACE_LAKEFS_PORT" in error.value.remedy
    assert processes.marked(home) == []
    monkeypatch.setenv("HEADRACE_LAKEFS_PORT", "eighty")
    with pytest.raises(StackError, match="HEADRACE_LAKEFS_PORT is 'eighty', not a port"):
        start_small(home)


def test_another_port_for_a_running_stack_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = start.up(home, only=("postgres",), choose_free_ports=True)
    monkeypatch.setenv("HEADRACE_POSTGRES_PORT", str(free_ports(1)[0]))
    with pytest.raises(StackError, match=f"HEADRACE_POSTGRES_PORT={state.ports['HEADRACE_POSTGRES_PORT']}"):
        start.up(home, only=("postgres",))
    assert of(home, "postgres").state == "healthy"


def test_a_server_that_cannot_start_shows_its_last_log_lines(home: Path) -> None:
    start.up(home, only=("postgres",), choose_free_ports=True)
    start.down(home)
    with (home / "postgres" / "data" / "postgresql.conf").open("a") as stream:
        stream.write("\nno_such_setting = 1\n")
    with pytest.raises(StackError, match="no_such_setting") as error:
        start.up(home, only=("postgres",))
    assert "postgres stops again as soon as it is started" in error.value.message
    assert str(home / "log" / "postgres.log") in error.value.remedy
    assert of(home, "postgres").pid == 0


def test_an_unknown_server_and_a_folder_that_is_none(home: Path, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no server named 'oracle'") as error:
        start.up(home, only=("oracle",), choose_free_ports=True)
    assert "airflow-scheduler" in error.value.remedy
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="cannot be made or written") as error:
        start.up(tmp_path / "file" / "home")
    assert "HEADRACE_HOME" in error.value.remedy


def test_a_full_disk_is_one_clear_error(home: Path) -> None:
    """A limit on the size of files stands for the disk: the same calls fail, at the same places."""
    code = "from include.cli import app; app(['up', '--free-ports', '--only', 'postgres'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HEADRACE_HOME": str(home)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "stack.json cannot be written: File too large. Free some space" in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_state_is_named(home: Path) -> None:
    start.up(home, only=("postgres",), choose_free_ports=True)
    start.down(home)
    good = (home / "stack.json").read_text()
    (home / "stack.json").write_text(good[:-5])
    with pytest.raises(StackError, match="is damaged"):
        start.up(home, only=("postgres",))
    (home / "stack.json").write_text(json.dumps(json.loads(good)))
    start.up(home, only=("postgres",))


def test_logs_follow_through_a_rotation(home: Path) -> None:
    state = start.up(home, only=("postgres",), choose_free_ports=True)
    lines = tail(home, "postgres", lines=1000, follow=True, poll_s=0.01)
    assert any("ready to accept connections" in next(lines) for _ in range(20))
    log = Supervisor(state).log("postgres")
    log.rename(log.with_name("postgres.log.1"))
    log.write_text("after the rotation\n")
    assert any("after the rotation" in next(lines) for _ in range(50))


def test_two_starts_at_once_do_not_meet(home: Path) -> None:
    home.mkdir()
    with start._alone(home), pytest.raises(StackError, match="at work"):
        start.up(home, only=("postgres",), choose_free_ports=True)
