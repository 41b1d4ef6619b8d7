"""What people decided about rows that broke their contract: to take them as they are, or with other values.

`quarantine/<source>/_decisions/<table>.json`

    {"version": 1, "decisions": [{"id": "...", "action": "accept", "rules": ["range(quantity)"],
      "was": {...}, "row": null, "who": "...", "why": "...", "decided_at": "2026-11-21T10:00:00+00:00"}]}

A decision goes by the content of a row, not by its place: when the source gives the same row again, with the
next snapshot, the decision holds again. It is recorded in the commit that publishes the row.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from include.spec.errors import HeadraceError

VERSION = 1
Action = Literal["accept", "correct"]
_ID_DIGITS = 16


class DecisionsError(HeadraceError):
    """The record of decisions is not one of ours."""


@dataclass(frozen=True)
class Decision:
    """What somebody decided about a row.

    Args:
        id: Of the row's text as it arrived: `row_id`.
        action: Take it as it is, or with other values.
        rules: The rules that an accepted row breaks; it is not accepted for any other.
        was: The row as it arrived, as JSON text.
        row: The row to take in its place, as JSON text; empty for an accepted one.
        who: Whose decision it is.
        why: The reason.
        decided_at: When, ISO 8601, UTC.
    """

    id: str
    action: Action
    rules: tuple[str, ...]
    was: str
    row: str
    who: str
    why: str
    decided_at: str


def row_id(text: str) -> str:
    """The name of a row by its content; rows that are alike have one name."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_ID_DIGITS]


def decisions_path(source: str, table: str) -> str:
    """Where the decisions about a table's rows lie in the lake."""
    return f"quarantine/{source}/_decisions/{table}.json"


def render_decisions(decisions: Iterable[Decision]) -> bytes:
    """The document; the same decisions always give the same bytes."""
    told = [
        {**asdict(one), "was": json.loads(one.was), "row": json.loads(one.row) if one.row else None}
        for one in sorted(decisions, key=lambda one: one.id)
    ]
    document = {"version": VERSION, "decisions": told}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def parse_decisions(document: bytes, path: str) -> dict[str, Decision]:
    """The decisions of a document, by the row they are about.

    Args:
        document: Its bytes.
        path: Where it lies, for the error.

    Raises:
        DecisionsError: It is not one of ours; what is accepted is said.
    """
    try:
        fields: Any = json.loads(document)
        _check_version(fields, path)
        found = [_decision(item) for item in fields["decisions"]]
    except (ValueError, TypeError, KeyError) as error:
        raise DecisionsError(
            f"The decisions {path} cannot be read: {type(error).__name__}: {error}.",
            remedy="Accepted: the document as `headrace quarantine release` writes it.",
            path=path,
        ) from error
    return {one.id: one for one in found}


def _check_version(fields: Any, path: str) -> None:
    """Refuse a document of another version.

    Raises:
        ValueError: It has one.
    """
    if not isinstance(fields, Mapping) or fields.get("version") != VERSION:
        raise ValueError(f"{path} has no version {VERSION}")


def _decision(item: Mapping[str, Any]) -> Decision:
    if item["action"] not in get_args(Action):
        raise ValueError(f"action {item['action']!r} is none of {', '.join(get_args(Action))}")
    row = item["row"]
    return Decision(
        id=str(item["id"]),
        action=item["action"],
        rules=tuple(map(str, item["rules"])),
        was=json.dumps(item["was"], ensure_ascii=False),
        row="" if row is None else json.dumps(row, ensure_ascii=False),
        who=str(item["who"]),
        why=str(item["why"]),
        decided_at=str(item["decided_at"]),
    )
