"""References that contain references survive XCom whole.

Airflow takes a dataclass apart with `dataclasses.asdict`, which takes apart its fields too, and puts only the
outermost class together again: a `Published` came back with a dictionary where its `CommitRef` had been.
"""

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints


class Restored:
    """Base of dataclasses with dataclasses in their fields: what became a dictionary is one again."""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        hints = _hints(kind)
        for field in fields(self):  # type: ignore[arg-type]  # the subclasses are dataclasses
            given = getattr(self, field.name)
            restored = _restored(hints[field.name], given)
            if restored is not given:
                object.__setattr__(self, field.name, restored)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _restored(hint: Any, value: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        hints = _hints(hint)
        return hint(**{name: _restored(hints[name], item) for name, item in value.items()})
    of_items = get_args(hint)
    of_one_kind = get_origin(hint) is tuple and len(of_items) == 2 and of_items[1] is Ellipsis
    if of_one_kind and isinstance(value, (tuple, list)) and any(isinstance(item, dict) for item in value):
        return tuple(_restored(of_items[0], item) for item in value)
    return value
