"""Which names repositories, branches, tags and paths may have.

Source: lakeFS, pkg/graveler/validate.go; its messages.
"""

import re

from include.stack.lakefs.model import Invalid

PATH_MAX_BYTES = 1024
_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
_BRANCH = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_]*")
_TAG_BANNED = re.compile(r"[\x00-\x20^:?*\[\\]|\.\.|//|@\{")
_TAG_BANNED_ENDS = (".", ".lock", "/")


def check_repository(name: str) -> None:
    """Check the id of a new repository.

    Raises:
        Invalid: It is not 3 to 63 lower-case letters, digits and dashes, not starting with a dash.
    """
    if not _REPOSITORY.fullmatch(name):
        raise Invalid(
            "argument repository: repository id: invalid value: validation error",
            remedy="Use 3 to 63 lower-case letters, digits and dashes, not starting with a dash.",
            repository=name,
        )


def check_branch(name: str) -> None:
    """Check the name of a new branch.

    Raises:
        Invalid: It is not letters, digits, underscores and dashes, not starting with a dash.
    """
    if not _BRANCH.fullmatch(name):
        raise Invalid(
            "argument branch: branch id: invalid value: validation error: branch id must consist of letters,"
            " digits, underscores and dashes, and cannot start with a dash",
            branch=name,
        )


def check_tag(name: str) -> None:
    """Check the name of a new tag against git's rules for refs.

    Raises:
        Invalid: It breaks one of them.
    """
    if not name or name == "@" or name.endswith(_TAG_BANNED_ENDS) or _TAG_BANNED.search(name):
        raise Invalid("argument tag: tag id: invalid value: validation error", tag=name)


def check_path(path: str) -> None:
    """Check the path of an object.

    Raises:
        Invalid: It is empty, longer than 1024 bytes or not text that UTF-8 can carry.
    """
    if not path:
        raise Invalid("argument path: missing path: required value: validation error")
    try:
        size_bytes = len(path.encode())
    except UnicodeEncodeError:
        raise Invalid("argument path: invalid value: not valid UTF-8", path=ascii(path)) from None
    if size_bytes > PATH_MAX_BYTES:
        raise Invalid(
            f"argument path: invalid value: {size_bytes} is above maximum length ({PATH_MAX_BYTES})"
        )
