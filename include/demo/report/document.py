"""A tree of dataclasses as a JSON document, and back as it was."""

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints


def restored(hint: Any, value: Any) -> Any:
    """A value of the type `hint`, from what `dataclasses.asdict` and JSON made of it.

    Args:
        hint: A dataclass, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]`, `X | None`, or what JSON keeps.
        value: As `json.loads` gives it.

    Raises:
        KeyError, TypeError: The document is of another kind, or of another version of it.
    """
    if value is None:
        return None
    kind, parts = get_origin(hint), get_args(hint)
    if kind is UnionType:
        (inner,) = (part for part in parts if part is not NoneType)
        return restored(inner, value)
    if kind is tuple:
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(restored(part, item) for part, item in zip(kinds, value, strict=True))
    if kind is dict:
        return {key: restored(parts[1], item) for key, item in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{field.name: restored(hints[field.name], value[field.name]) for field in fields(hint)})
    return value
