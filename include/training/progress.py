"""One step of fitting, told to whoever watches: a progress bar, a log line, a curve in the registry."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """The losses after a round of trees or an epoch.

    Args:
        number: From 0.
        train_loss: Mean loss on the training rows.
        validation_loss: Mean loss on the validation rows.
    """

    number: int
    train_loss: float
    validation_loss: float


Report = Callable[[Step], None]
