"""`headrace lakefs`: the lake server in the foreground, and its garbage collection."""

from pathlib import Path
from typing import Annotated

import typer

CONNECT_DEADLINE_S = 5.0

commands = typer.Typer(help="The lake server.", invoke_without_command=True)


@commands.callback()
def lakefs(
    context: typer.Context,
    data: Annotated[Path | None, typer.Option(help="Folder of the metadata.")] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    blockstore: Annotated[str, typer.Option(help="Where objects go: s3 or local.")] = "s3",
    quickstart: Annotated[bool, typer.Option("--quickstart", help="Seed the repository quickstart.")] = False,
) -> None:
    """Serve the lakeFS protocol until stopped; keys come from the environment."""
    if context.invoked_subcommand is not None:
        return
    if data is None:
        raise typer.BadParameter("a folder is needed", param_hint="--data")
    from include.stack.lakefs.options import read_options
    from include.stack.lakefs.serve import serve

    serve(read_options(data_dir=data, port=port, host=host, blockstore=blockstore, quickstart=quickstart))


@commands.command()
def gc(
    repository: Annotated[str, typer.Argument(help="Repository to collect.")],
    grace_hours: Annotated[
        float, typer.Option(help="Keep what nothing refers to while it is younger than this.")
    ] = 6.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
) -> None:
    """Delete the bytes of expired commits and of abandoned uploads, on the running lake server."""
    from datetime import timedelta

    from include.lake import Lake
    from include.lake.collection import collect_objects
    from include.lake.patience import Patience
    from include.settings import settings

    named = settings().model_copy(update={"lake_repository": repository})
    lake = Lake.connect(named, patience=Patience(deadline_s=CONNECT_DEADLINE_S))
    done = collect_objects(lake, timedelta(hours=grace_hours), dry_run=dry_run)
    verb = "would be deleted" if done.dry_run else "deleted"
    typer.echo(
        f"{repository}: {done.expired} expired and {done.unreferenced} unreferenced objects {verb},"
        f" {done.size_bytes} bytes"
    )


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.add_typer(commands, name="lakefs")
