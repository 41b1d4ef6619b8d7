"""`headrace ...`: a thin face of the rooms, one module of commands per room."""

from include.cli.main import app

__all__ = ["app"]
