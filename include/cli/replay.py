"""`headrace replay`: a database lives through its year; `headrace weather`: an API of its weather."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from include.cli.report import Home
from include.settings import STACK_ENV, Settings, home_folder
from include.spec.errors import HeadraceError

if TYPE_CHECKING:
    from include.demo.replay.engine import Plan


class NoDatabaseError(HeadraceError):
    """It is not said which database lives through the year."""


class Year(StrEnum):
    """Whose year."""

    RETAIL = "retail"
    FLIGHTS = "flights"


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command()(replay)
    app.command()(weather)


def replay(
    year: Annotated[Year, typer.Argument(help="Whose year.")],
    until: Annotated[
        datetime | None,
        typer.Option(
            help="Stop before this date or time of the year (UTC).", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"]
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds of the year in a second; else as fast as it goes."),
    ] = None,
    households: Annotated[int | None, typer.Option(min=1, help="Only the first so many households.")] = None,
    carrier: Annotated[str | None, typer.Option(help="Only this carrier's flights, as in HA.")] = None,
    seed: Annotated[int, typer.Option(help="What is mistaken, changed and late.")] = 1,
    again: Annotated[bool, typer.Option("--again", help="Drop what is there, and open anew.")] = False,
    home: Home = None,
) -> None:
    """Apply a year to the operational database, in order, in committed transactions; go on where it was."""
    from include.demo.replay.engine import replay as apply

    folder = (home or home_folder()).absolute()
    settings = Settings(_env_file=folder / STACK_ENV, home=folder)  # type: ignore[call-arg]
    plan, field = _plan(year, households, carrier, seed)
    dsn = getattr(settings, field).get_secret_value()
    if not dsn:
        raise NoDatabaseError(
            f"HEADRACE_{field.upper()} is not set, and there is no stack in {folder}.",
            remedy="Run `headrace up`, or set it to the address of a database of the replay's own.",
        )
    console = Console(stderr=True)
    if year is Year.FLIGHTS and settings.s3_access_key_id:
        from include.demo import flights_files

        console.print(f"dropped {', '.join(flights_files.drop(settings))}", highlight=False)
    with _told(console, year) as told:
        done = apply(dsn, plan, until=until, speed=speed, again=again, progress=told)
    at = done.position
    rate = f", {done.rows / done.seconds:,.0f} rows/s" if done.transactions else ""
    typer.echo(
        f"{done.transactions:,} transactions, {done.rows:,} rows in {done.seconds:.1f} s{rate}; "
        f"{'the year is over' if at.finished else f'it is {at.reached:%Y-%m-%d %H:%M} now'}"
        f" after {at.transactions:,} transactions."
    )


def weather(
    port: Annotated[int, typer.Option(min=0, max=65535, help="On loopback; 0 for a free one.")] = 8090,
) -> None:
    """Serve the weather of the flights' year as a JSON API, page by page, until stopped."""
    from include.demo import weather_api

    weather_api.serve(port)


def _plan(year: Year, households: int | None, carrier: str | None, seed: int) -> tuple["Plan", str]:
    """What happens, and the field of the settings that names its database."""
    if year is Year.FLIGHTS:
        if households is not None:
            raise typer.BadParameter("only retail has households; flights has --carrier")
        from include.demo.replay.flights import FlightsYear

        return FlightsYear(carrier, seed), "flights_dsn"
    if carrier is not None:
        raise typer.BadParameter("only flights has carriers; retail has --households")
    from include.demo.complete_journey import Slice
    from include.demo.replay.retail import RetailYear

    return RetailYear(Slice(households), seed), "retail_live_dsn"


@contextmanager
def _told(console: Console, year: Year) -> Iterator[Callable[[str, int], None] | None]:
    """One line with what time of the year it is; nothing for what is no terminal."""
    if not console.is_terminal:
        yield None
        return
    columns = ("[progress.description]{task.description}", "{task.fields[now]}", "{task.completed:,} rows")
    texts = [TextColumn(column) for column in columns]
    with Progress(SpinnerColumn(), *texts, BarColumn(20), TimeElapsedColumn(), console=console) as shown:
        task = shown.add_task(year.value, total=None, now="")

        def told(now: str, rows: int) -> None:
            shown.update(task, advance=rows, now=now)

        yield told
