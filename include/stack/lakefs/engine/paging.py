"""Pages of listings: names, and paths that a delimiter rolls up into common prefixes."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from include.stack.lakefs.model import Page

T = TypeVar("T")
_LAST_CODE_POINT = 0x10FFFF


def after_prefix(prefix: str) -> str | None:
    """Return the smallest string above all that start with the prefix; None if there is no such."""
    stem = prefix.rstrip(chr(_LAST_CODE_POINT))
    if not stem:
        return None
    code_point = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= code_point < 0xE000 else code_point)


def name_page(found: list[T], amount: int, name_of: Callable[[T], str]) -> Page[T]:
    """Return a page of at most `amount` from up to one more result."""
    results, has_more = found[:amount], len(found) > amount
    return Page(results, has_more, name_of(results[-1]) if has_more and results else "", amount)


def path_page(
    scan: Callable[[str], Iterator[T]],
    path_of: Callable[[T], str],
    roll_up: Callable[[str], T],
    *,
    prefix: str,
    after: str,
    delimiter: str,
    amount: int,
) -> Page[T]:
    """Return a page of what has the prefix, strictly after `after`.

    Args:
        scan: Yields the items from a path on, in order of path.
        path_of: Path of an item.
        roll_up: Makes the item that stands for a common prefix.
        prefix: Only paths that start with it.
        after: Path or common prefix to continue after; nothing beneath a common prefix follows it.
        delimiter: Rolls up what contains it after the prefix; "" rolls up nothing.
        amount: Page size.
    """
    results: list[T] = []
    start: str | None = max(prefix, after)
    if delimiter and after.endswith(delimiter) and after >= prefix:
        start = after_prefix(after)
    while start is not None and len(results) <= amount:
        at, start = start, None
        for item in scan(at):
            path = path_of(item)
            if not path.startswith(prefix) or len(results) > amount:
                break
            cut = path.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:  # skip all beneath the common prefix, however many
                common = path[: cut + len(delimiter)]
                results.append(roll_up(common))
                start = after_prefix(common)
                break
            if path != after:
                results.append(item)
    return name_page(results, amount, path_of)
