"""The root command; each room's commands live in a module beside this one and import it when called."""

import typer

app = typer.Typer(name="headrace", no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def _root() -> None:
    """Data from a versioned lake, through gates, to models, and back."""
