"""What can go wrong while fitting; each message names the training set and the remedy."""

from include.spec.errors import HeadraceError


class TrainingError(HeadraceError):
    """A candidate could not be fitted on this training set."""
