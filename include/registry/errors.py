"""What can go wrong at the registry; each message names the product or the file and the remedy."""

from include.spec.errors import HeadraceError


class RegistryError(HeadraceError):
    """The registry, or a model in it, is not what was asked for."""


class RefusedFormat(RegistryError):
    """A model file is of a format that is not admitted; it was not opened."""


class DigestMismatch(RegistryError):
    """A model's bytes are not those that were registered; it was not loaded."""


class UnfitInput(RegistryError):
    """Rows do not have the columns, or the types, that the model was trained on."""
