"""Values that only held changes tell: which later changes cannot be filled in without them.

`quarantine/<source>/<table>/held/_owed.json`

    {"version": 1, "keys": [[["17"], {"story": ["6f3c..."]}]]}

of the row with the key 17, the value of `story` is told by the held change `6f3c...` and by none that is
published. Once all the changes that are named for a value are published, it is owed no more.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from include.spec.errors import HeadraceError

VERSION = 1
FILE = "_owed.json"
Key = tuple[str, ...]
Columns = dict[str, tuple[str, ...]]


class OwedError(HeadraceError):
    """The record of values that are owed is not one of ours."""


@dataclass
class Owed:
    """Values that are owed, of the rows of one table.

    Args:
        keys: By the text of the row's key and the column: ids of the held changes that it takes to know it.
    """

    keys: dict[Key, Columns] = field(default_factory=dict)

    def told(self, key: Key | None) -> None:
        """Nothing of this row is owed any more."""
        if key is not None:
            self.keys.pop(key, None)

    def owe(self, key: Key | None, columns: Columns) -> None:
        """These values of this row are owed, and no others."""
        self.told(key)
        if key is not None and columns:
            self.keys[key] = columns

    def without(self, released: Collection[str]) -> "Owed":
        """What is owed still once these changes are published."""
        left: dict[Key, Columns] = {}
        for key, columns in self.keys.items():
            kept = {name: tuple(one for one in ids if one not in released) for name, ids in columns.items()}
            if kept := {name: ids for name, ids in kept.items() if ids}:
                left[key] = kept
        return Owed(left)

    def document(self) -> str:
        """As it is written; the same always gives the same text."""
        keys = [[list(key), dict(sorted(columns.items()))] for key, columns in sorted(self.keys.items())]
        return json.dumps({"version": VERSION, "keys": keys}, ensure_ascii=False) + "\n"

    @classmethod
    def of(cls, document: bytes, path: str) -> "Owed":
        """What such a document says.

        Args:
            document: Its bytes.
            path: Where it lies, for the error.

        Raises:
            OwedError: It is not one of ours.
        """
        try:
            fields: Any = json.loads(document)
            _check_version(fields)
            return cls(
                {
                    tuple(key): {name: tuple(ids) for name, ids in columns.items()}
                    for key, columns in fields["keys"]
                }
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise OwedError(
                f"{path} cannot be read: {type(error).__name__}: {error}.",
                remedy=f"Accepted: the document as captures write it, version {VERSION}.",
                path=path,
            ) from error


def _check_version(fields: Any) -> None:
    """Refuse a document of another version.

    Raises:
        ValueError: It is of one.
    """
    if fields["version"] != VERSION:
        raise ValueError(f"version {fields['version']!r}")
