"""Which paths may be written to the lake, and which of its paths may become local files."""

import unicodedata

from include.lake.errors import BadPath

LONGEST_PATH_BYTES = 1024  # an S3 key
LONGEST_SEGMENT_BYTES = 255  # a file name
RESERVED = "_lakefs"  # `_lakefs_actions/` runs hooks on the server
ACCEPTED = "Accepted: relative paths such as raw/retail/orders/part-0.parquet."


def object_path(path: str) -> str:
    """The path itself, if it may be written.

    Raises:
        BadPath: Empty, absolute, with `..`, a backslash, a control character, an empty or over-long
            segment, or under `_lakefs`.
    """
    confined(path)
    if path.startswith(RESERVED):
        raise BadPath(f"the path {path!r} is reserved for the lake server", remedy=ACCEPTED)
    return path


def prefix_path(prefix: str) -> str:
    """A folder of the lake to write under, without its closing slash; empty is the whole lake.

    Raises:
        BadPath: As for `object_path`.
    """
    folder = prefix.removesuffix("/")
    return object_path(folder) if folder else ""


def joined(prefix: str, name: str) -> str:
    """`prefix/name`, checked as a whole.

    Raises:
        BadPath: As for `object_path`.
    """
    confined(name)
    folder = prefix_path(prefix)
    return object_path(f"{folder}/{name}" if folder else name)


def confined(path: str) -> str:
    """The path itself, if as a local path it stays within the folder that it is joined to.

    Raises:
        BadPath: As for `object_path`, except that the server's own paths may be read.
    """
    cause = _fault(path)
    if cause:
        raise BadPath(f"the path {path!r} {cause}", remedy=ACCEPTED)
    return path


def _fault(path: str) -> str:
    if not path:
        return "is empty"
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if len(encoded) > LONGEST_PATH_BYTES:
        return f"is longer than {LONGEST_PATH_BYTES} bytes"
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path:
        return "has a backslash"
    if any(unicodedata.category(character) == "Cc" for character in path):
        return "has a control character"
    return _segment_fault(path.split("/"))


def _segment_fault(segments: list[str]) -> str:
    for segment in segments:
        if not segment:
            return "has an empty segment"
        if segment in {".", ".."}:
            return f"has the segment {segment!r}"
        if len(segment.encode()) > LONGEST_SEGMENT_BYTES:
            return f"has a segment longer than {LONGEST_SEGMENT_BYTES} bytes"
    return ""
