"""`headrace lake ...`: what is in the lake, what happened to it, and files out of it."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from include.settings import settings

if TYPE_CHECKING:
    from include.lake import Lake

app = typer.Typer(
    name="lake", help="The versioned lake: log, tables, drafts, checkouts.", no_args_is_help=True
)
out, progress_out = Console(), Console(stderr=True)

CONNECT_DEADLINE_S = 5.0

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
At = Annotated[str, typer.Option("--ref", help="Branch, tag, commit or an expression such as main~1.")]
Prefix = Annotated[str, typer.Argument(help="A folder of the lake, such as raw/retail.")]


@app.command()
def init() -> None:
    """Make the repository, with main protected, if it does not exist yet."""
    from include.lake import Lake

    lake = Lake.prepare(settings(), patience=_patience())
    out.print(f"Repository {lake.repository} is ready at {lake.endpoint}.", highlight=False, soft_wrap=True)


@app.command()
def log(
    ref: At = "main",
    limit: Annotated[int, typer.Option(min=1, help="How many commits.")] = 20,
    as_json: Json = False,
) -> None:
    """The commits of main, the latest first, each with the run that made it."""

    def show(lake: "Lake") -> None:
        from include.lake.history import log as commits

        entries = list(commits(lake, ref, limit=limit))
        rows = (
            (
                entry.commit.commit[:12],
                _time(entry.created_s),
                entry.record.station if entry.record else "",
                entry.record.run_id if entry.record else "",
                f"{sum(entry.record.rows.values()):,}" if entry.record and entry.record.rows else "",
                entry.message,
            )
            for entry in entries
        )
        _print(entries, ("commit", "time (UTC)", "station", "run", ">rows", "message"), rows, as_json)

    _with_lake(show)


@app.command()
def tables(prefix: Prefix = "", ref: At = "main", as_json: Json = False) -> None:
    """The tables at a ref, with their files, bytes and rows."""

    def show(lake: "Lake") -> None:
        from include.lake.tables import list_tables

        found = list_tables(lake, lake.resolve(ref), prefix)
        rows = ((t.table, f"{t.files:,}", _size(t.size_bytes), f"{t.rows:,}") for t in found)
        _print(found, ("table", ">files", ">size", ">rows"), rows, as_json)

    _with_lake(show)


@app.command()
def show(
    table: Annotated[str, typer.Argument(help="A table, such as raw/retail/orders.")],
    ref: At = "main",
    as_json: Json = False,
) -> None:
    """One table: its columns and their types, its files, bytes and rows."""

    def print_table(lake: "Lake") -> None:
        from include.lake.tables import show_table

        at = lake.resolve(ref)
        found = show_table(lake, at, table)
        stat = found.stat
        if not as_json:
            out.print(
                f"{stat.table} at {at.commit[:12]}: {stat.rows:,} rows in {stat.files:,} files,"
                f" {_size(stat.size_bytes)}",
                highlight=False,
            )
            out.print(lake.uri(at, stat.table), highlight=False, soft_wrap=True)
        rows = ((column.name, column.type, "" if column.nullable else "no") for column in found.columns)
        _print(found, ("column", "type", "null"), rows, as_json)

    _with_lake(print_table)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="Branch, tag, commit or expression.")],
    after: Annotated[str, typer.Argument(help="The same; main by default.")] = "main",
    as_json: Json = False,
) -> None:
    """What each table gained and lost between two refs."""

    def show(lake: "Lake") -> None:
        from include.lake.tables import diff_tables

        changes = diff_tables(lake, lake.resolve(before), lake.resolve(after))
        rows = (
            (
                change.table,
                f"+{change.files_added} -{change.files_removed} ~{change.files_changed}",
                f"+{change.rows_added:,} -{change.rows_removed:,}",
            )
            for change in changes
        )
        _print(changes, ("table", ">files", ">rows"), rows, as_json)

    _with_lake(show)


@app.command()
def refused(as_json: Json = False) -> None:
    """The drafts that their gates refused, with the verdict; each can be checked out by its branch."""

    def show(lake: "Lake") -> None:
        from include.lake import refused as listed

        found = listed(lake)
        rows = (
            (
                _time(item.refused_at_s),
                item.station,
                item.run_id,
                item.branch,
                "; ".join(f"{f.table} {f.rule}: {f.observed}" for f in item.verdict.findings[:3]),
            )
            for item in found
        )
        _print(found, ("time (UTC)", "station", "run", "branch", "findings"), rows, as_json)

    _with_lake(show)


@app.command()
def collect(
    older_than_days: Annotated[
        float, typer.Option("--older-than-days", min=0, help="A draft at rest so long is abandoned.")
    ] = 7,
    refused_for_days: Annotated[
        float, typer.Option("--refused-for-days", min=0, help="How long refused drafts are kept.")
    ] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Delete drafts that nobody will come back to; never a live one."""

    def sweep(lake: "Lake") -> None:
        from include.lake import collect_drafts

        collected = collect_drafts(
            lake,
            timedelta(days=older_than_days),
            refused_for=timedelta(days=refused_for_days),
            dry_run=dry_run,
        )
        rows = ((item.branch, item.station, item.run_id, item.reason) for item in collected)
        _print(collected, ("branch", "station", "run", "reason"), rows, as_json)

    _with_lake(sweep)


@app.command()
def trim(
    to_bytes: Annotated[
        int | None,
        typer.Option("--to-bytes", min=0, help="Its bound by default."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be evicted.")] = False,
    as_json: Json = False,
) -> None:
    """Evict what the local cache holds beyond its bound, the least recently used first."""
    from include.lake.cache import Cache

    trimmed = Cache(settings().cache_folder, settings().cache_size_bytes).trim(to_bytes, dry_run=dry_run)
    if as_json:
        out.print_json(json.dumps(_plain(trimmed)))
        return
    verb = "would be evicted" if dry_run else "evicted"
    out.print(
        f"{trimmed.contents:,} files, {_size(trimmed.size_bytes)}, {verb}; {_size(trimmed.kept_bytes)} kept.",
        highlight=False,
    )


@app.command()
def checkout(
    prefix: Prefix,
    to: Annotated[Path, typer.Option("--to", help="An empty folder, or one that does not exist.")],
    ref: At = "main",
    as_json: Json = False,
) -> None:
    """Put the files under a prefix into a folder: read-only, verified, shared with the cache."""

    def fetch(lake: "Lake") -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        from include.lake import checkout as fetched
        from include.lake.objects import list_objects

        at = lake.resolve(ref)
        total = sum(stat.size_bytes for stat in list_objects(lake, at, prefix))
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(
            *columns, console=progress_out, transient=True, disable=not progress_out.is_terminal
        ) as bar:
            task = bar.add_task(prefix, total=total)
            files = fetched(lake, at, prefix, to=to, progress=lambda _path, size: bar.advance(task, size))
        told = {
            "folder": str(files.folder),
            "commit": at.commit,
            "files": len(files.objects),
            "size_bytes": files.size_bytes,
            "fetched_bytes": files.fetched_bytes,
        }
        if as_json:
            out.print_json(json.dumps(told))
            return
        out.print(
            f"{told['files']:,} files, {_size(files.size_bytes)}, of which {_size(files.fetched_bytes)} were"
            f" fetched, of commit {at.commit[:12]} in {to}",
            highlight=False,
            soft_wrap=True,
        )

    _with_lake(fetch)


def _with_lake(command: Callable[["Lake"], None]) -> None:
    from include.lake import Lake

    command(Lake.connect(settings(), patience=_patience()))


def _patience() -> Any:
    from include.lake.patience import Patience

    return Patience(deadline_s=CONNECT_DEADLINE_S)


def _print(found: Any, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], as_json: bool) -> None:
    """A table, or JSON of all that was found; a column that begins with `>` is of numbers."""
    if as_json:
        out.print_json(json.dumps(_plain(found)))
        return
    grid = Grid()
    for column in columns:
        grid.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        grid.add_row(*(cell.replace("[", r"\[") for cell in row))
    out.print(grid)


def _plain(found: Any) -> Any:
    if is_dataclass(found) and not isinstance(found, type):
        return asdict(found)
    return [_plain(item) for item in found]


def _time(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
