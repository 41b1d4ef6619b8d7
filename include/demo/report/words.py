"""Numbers, times and names as a person reads them."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

MINUTE_S = 60.0
HASH, HASH_DIGITS = re.compile(r"[0-9a-f]{16,64}"), 8
UNIT = re.compile(r"(\d) (?=(?:s|min|B|kB|MB|GB)\b)")
WRITTEN = {"roc_auc": "ROC AUC", "brier": "Brier score", "rmse": "RMSE", "mae": "MAE"}
COUNTED = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def seconds(value: float | None) -> str:
    """`4.2 s`, `38 s`, `3 min 05 s`."""
    if value is None:
        return ""
    if value < MINUTE_S / 6:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole} s" if whole < MINUTE_S else f"{whole // 60} min {whole % 60:02d} s"


def size(value: float) -> str:
    """`412 B`, `1.9 kB`, `453 MB`."""
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def moment(text: str) -> str:
    """`2 Nov 2017` from ISO 8601, with the hour where it is not a day's beginning; as it is if it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    hour = "" if (at.hour, at.minute) == (0, 0) else f" {at:%H:%M}"
    return f"{at.day} {at:%b %Y}{hour}"


def clock(at: float | None) -> str:
    """`2026-11-21 11:57:54 UTC`; empty where it is not known."""
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def name(identifier: str) -> str:
    """`Coupon redemption` from `coupon_redemption`."""
    return first_upper(plain(identifier))


def plain(identifier: str) -> str:
    """`coupon redemption` from `coupon_redemption`, and metrics as they are written."""
    return WRITTEN.get(identifier, identifier.replace("_", " "))


def first_upper(sentence: str) -> str:
    """The sentence with a capital at its beginning, and otherwise as it is."""
    return sentence[:1].upper() + sentence[1:]


def tight(text: str) -> str:
    """The text with units that stay on the line of their number."""
    return UNIT.sub("\\1\N{NO-BREAK SPACE}", text)


def path(table: str) -> str:
    """A lake path, with what is named by its content's hash named by the hash's first digits."""
    folder, _, last = table.rpartition("/")
    return f"{folder}/{last[:HASH_DIGITS]}" if HASH.fullmatch(last) else table


def count(number: int, thing: str, things: str = "") -> str:
    """`one model`, `12 models`."""
    return f"{in_words(number)} {thing if number == 1 else things or f'{thing}s'}"


def in_words(number: int) -> str:
    """`seven`, `12`."""
    return COUNTED[number] if number < len(COUNTED) else f"{number:,}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def measured(value: float) -> str:
    """A metric with as many digits as mean something; a dash where it cannot be told."""
    return "–" if math.isnan(value) else f"{value:.3f}"
