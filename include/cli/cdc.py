"""`headrace cdc ...`: how far changes are captured, following them without Airflow, and beginning anew."""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from include.settings import settings
from include.spec.errors import HeadraceError
from include.spec.source import Source

if TYPE_CHECKING:
    from include.orchestration.following import Window

app = typer.Typer(
    name="cdc", help="Changes of databases: how far, follow them, begin anew.", no_args_is_help=True
)
out, errors = Console(), Console(stderr=True)

CONCERN = 1

Named = Annotated[str, typer.Argument(help="A source that declares a capture.")]


@dataclass(frozen=True)
class Standing:
    """How the capture of a source stands.

    Args:
        source: Its name.
        slot: The replication slot.
        position: How far main has the log; empty before the first capture.
        behind_bytes: Of log that was written since the slot was last advanced.
        retained_bytes: Of log that the database keeps for us.
        wal_status: As PostgreSQL has it; empty where there is no slot yet.
        concern: Why somebody should look; empty where nobody need.
    """

    source: str
    slot: str
    position: str
    behind_bytes: int
    retained_bytes: int
    wal_status: str
    concern: str


@app.command()
def status(
    source: Annotated[str | None, typer.Argument(help="A source; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """How far main has the changes of each database; exit 1 where somebody should look."""
    found = [_standing(one) for one in ([captured(source)] if source else _sources())]
    if as_json:
        out.print_json(json.dumps([vars(one) for one in found]))
    else:
        _print(found)
    if any(one.concern for one in found):
        raise typer.Exit(CONCERN)


@app.command()
def follow(
    source: Named,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End as soon as main has all changes.")
    ] = False,
    for_s: Annotated[float | None, typer.Option(min=0, help="End after so many seconds.")] = None,
) -> None:
    """Bring changes to main as they come, until Ctrl-C: a window at a time, each through the gate."""
    from include.lake import Lake
    from include.orchestration.following import Follower

    declared = captured(source)
    with _told_to_stop() as stop:
        follower = Follower(Lake.connect(settings()), settings(), declared, _tell, stop)
        done = follower.follow(
            for_s=float("inf") if for_s is None else for_s, quiet_s=0.0 if until_caught_up else float("inf")
        )
    out.print(f"{done.rows:,} changes in {done.windows:,} commits.", highlight=False)


@app.command()
def reset(
    source: Named,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give up slot and change logs, and load the tables anew: where a slot was lost, or cannot be read.

    One commit replaces the change logs on main; what they were stays in main's history.
    """
    from include.lake import Lake
    from include.orchestration.following import publish_window

    declared = captured(source)
    if not yes:
        typer.confirm(
            f"Drop the slot of {source} if it is there, and load its tables anew? Changes that were not "
            "captured yet are not in any log afterwards; the rows are.",
            abort=True,
        )
    _tell(publish_window(Lake.connect(settings()), settings(), declared, anew=True))


def captured(name: str) -> Source:
    """The source of that name that declares a capture.

    Raises:
        HeadraceError: There is none.
    """
    there = {source.name: source for source in _sources()}
    if name not in there:
        accepted = ", ".join(sorted(there)) or "nothing: no source declares a capture"
        raise HeadraceError(f"There is no captured source {name!r}.", remedy=f"Accepted: {accepted}.")
    return there[name]


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Set by Ctrl-C and SIGTERM while the block lasts, so that a window that was begun is published."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _sources() -> list[Source]:
    from include.sources import SOURCES

    return [source for source in SOURCES if source.capture is not None]


def _standing(source: Source) -> Standing:
    from include.ingestion.capture_feed import feed_of, held_position
    from include.ingestion.connectors.postgres_slot import slot_state
    from include.ingestion.pgoutput import CdcError
    from include.lake import Lake
    from include.orchestration.following import concern_of

    assert source.capture is not None
    lake = Lake.connect(settings())
    held = held_position(lake, source, lake.head())
    slot = source.capture.slot
    if held is None:
        return Standing(source.name, slot, "", 0, 0, "", "")
    try:
        state = slot_state(feed_of(settings(), source), held)
    except CdcError as error:
        return Standing(source.name, slot, held.position.value, 0, 0, "", str(error))
    concern = concern_of(state, source.capture.alert_retained_bytes)
    sizes: tuple[int, int] = (state.behind_bytes, state.retained_bytes)
    return Standing(source.name, slot, held.position.value, *sizes, state.wal_status, concern)


def _print(found: list[Standing]) -> None:
    grid = Grid()
    for column in ("source", "slot", "main is at"):
        grid.add_column(column, overflow="fold")
    for column in ("behind", "kept log"):
        grid.add_column(column, justify="right")
    grid.add_column("state")
    for one in found:
        at = one.position.partition("@")[0] or "never captured"
        sizes = [f"{size / 2**20:,.1f} MiB" if one.wal_status else "" for size in _sizes(one)]
        state = "look" if one.concern else one.wal_status
        grid.add_row(one.source, one.slot, at, *sizes, state)
    out.print(grid)
    for one in found:
        if one.concern:
            line = f"{one.source}: {one.concern}"
            errors.print(line, markup=False, highlight=False, style="red", soft_wrap=True)


def _sizes(one: Standing) -> tuple[int, int]:
    return one.behind_bytes, one.retained_bytes


def _tell(window: "Window") -> None:
    captured_now: Any = window.captured
    tables = ", ".join(f"{table.rpartition('/')[2]} {rows:,}" for table, rows in captured_now.tables)
    aside = sum(rows for _, rows in captured_now.quarantined)
    told = "; ".join(filter(None, (tables or "no rows", f"{aside:,} put aside" if aside else "")))
    at = captured_now.position.value.partition("@")[0]
    out.print(f"{at}: {told} ({window.seconds:.1f} s)", markup=False, highlight=False, soft_wrap=True)
