"""What can be wrong with a stream of changes."""

from include.spec.errors import HeadraceError


class CdcError(HeadraceError):
    """Change data capture cannot go on; nothing that was read is published."""


class ProtocolError(CdcError):
    """The bytes are not what the protocol promises: a defect, or options that were not asked for."""


class UnsupportedType(CdcError):
    """A column has a type that has no faithful form in the lake."""


class UnreadableValue(CdcError):
    """A value is not what its column's type promises, such as text that is not UTF-8."""


def broken(what: str) -> ProtocolError:
    """The error for bytes that do not follow the protocol."""
    return ProtocolError(
        f"The stream of changes does not follow pgoutput's protocol: {what}.",
        remedy="Read the slot with proto_version 1, text values and streaming off, whole messages in order.",
    )
