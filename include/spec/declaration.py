"""The root of all declarations: frozen, strict, and clear about the file and the field that is wrong."""

import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.spec.errors import HeadraceError

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""An identifier that is safe as a table, a folder, a DAG id and a registered model alike."""


class DeclarationError(HeadraceError, ValueError):
    """A declaration does not say what it must; nothing was changed."""


class Declaration(BaseModel):
    """A frozen, strict statement in Python, checked as it is written.

    Raises:
        DeclarationError: A field is missing, unknown, of another type, or not among what is accepted;
            the message names the file, the line and each field.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DeclarationError(_sentence(type(self).__name__, fields, error)) from error


def _sentence(kind: str, fields: dict[str, Any], error: ValidationError) -> str:
    named = f"{kind}({fields['name']!r})" if "name" in fields else kind
    problems = []
    for problem in error.errors(include_url=False):
        where = ".".join(str(part) for part in problem["loc"])
        said = problem["msg"].removeprefix("Value error, ")
        problems.append(f"{where}: {said}, got {problem['input']!r}" if where else said)
    return f"{_written_at()}: {named}: {'; '.join(problems)}"


def _written_at() -> str:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{frame.f_lineno}"
