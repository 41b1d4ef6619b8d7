"""Ref expressions: a name, then `~N`, `^N`, `@`, `$`.

Source: lakeFS, pkg/graveler/ref/parse_ref.go.
"""

import re

from include.stack.lakefs.model import InvalidRef

_MODIFIER = re.compile(r"([~^])([0-9]{0,9})|([@$])")


def parse(expression: str) -> tuple[str, list[tuple[str, int]]]:
    """Return the name and the modifiers with their amounts; a missing amount is 1.

    Raises:
        InvalidRef: The expression has no name, or something that is no modifier after it.
    """
    at = min((i for i, character in enumerate(expression) if character in "~^@$"), default=len(expression))
    modifiers: list[tuple[str, int]] = []
    base, rest = expression[:at], at
    while rest < len(expression):
        found = _MODIFIER.match(expression, rest)
        if found is None:
            break
        sign, amount, lone = found.groups()
        modifiers.append((lone, 1) if lone else (sign, int(amount or 1)))
        rest = found.end()
    if not base or rest < len(expression) or any(character.isspace() for character in base):
        raise InvalidRef("ref: invalid value: validation error", ref=expression)
    return base, modifiers
