"""PostgreSQL's text of arrays, split into elements.

Source: PostgreSQL 18 documentation, 8.15.6 "Array Input and Output Syntax".
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# Without quotes, escapes or inner braces a comma parts elements, and nothing else does.
_SIMPLE = r'^\{[^"\\{}]*\}$'
_ELEMENT = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^,{}"\\]+))(,|$)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Split:
    """The elements of n arrays.

    Args:
        offsets: Where the elements of each begin, shape (n + 1,); a special one and NULL have none.
        elements: Texts of all elements, null for NULL.
        special: Which have more than one dimension or bounds of their own, shape (n,).
    """

    offsets: npt.NDArray[np.int32]
    elements: pa.Array
    special: npt.NDArray[np.bool_]


def split_lists(texts: pa.Array) -> Split:
    """Split array literals into the texts of their elements.

    Args:
        texts: String array, null for NULL.
    """
    simple = pc.match_substring_regex(texts, _SIMPLE)
    if pc.all(simple, min_count=0).as_py():
        return _split_simple(texts)
    special = np.zeros(len(texts), np.bool_)
    offsets = np.zeros(len(texts) + 1, np.int32)
    elements: list[str | None] = []
    for place, text in enumerate(texts.to_pylist()):
        found = [] if text is None else parse_list(text)
        special[place] = found is None
        elements.extend(found or [])
        offsets[place + 1] = len(elements)
    return Split(offsets, pa.array(elements, pa.string()), special)


def _split_simple(texts: pa.Array) -> Split:
    inner = pc.utf8_slice_codeunits(texts, 1, -1)
    parts = pc.split_pattern(inner, ",")
    lengths = pc.fill_null(pc.list_value_length(parts), 0).to_numpy(zero_copy_only=False)
    elements = parts.flatten()
    # The empty text splits into one empty element; an unquoted element is never empty.
    nothing = pc.fill_null(pc.equal(inner, ""), False).to_numpy(zero_copy_only=False)
    lengths = np.where(nothing, 0, lengths)
    elements = elements.filter(pc.not_equal(elements, ""))
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    elements = pc.if_else(pc.equal(elements, "NULL"), pa.scalar(None, pa.string()), elements)
    return Split(offsets, elements, np.zeros(len(texts), np.bool_))


def parse_list(text: str) -> list[str | None] | None:
    """The elements of one array literal; None where it has more dimensions or bounds of its own."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    found: list[str | None] = []
    inner, at = text[1:-1], 0
    while at < len(inner):
        matched = _ELEMENT.match(inner, at)
        if matched is None:
            return None
        quoted, bare = matched[1], matched[2]
        if quoted is not None:
            found.append(_ESCAPED.sub(r"\1", quoted))
        else:
            found.append(None if bare == "NULL" else bare)
        at = matched.end()
    return found
