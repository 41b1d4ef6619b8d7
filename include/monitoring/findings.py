"""What one monitoring run found, as the lake keeps it."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from include.monitoring.drift import DriftReport
from include.monitoring.retraining import Decision


@dataclass(frozen=True)
class Findings:
    """The state of a champion as of a moment.

    Args:
        product: Name of the model product.
        model_version: The champion.
        as_of: The moment.
        drift: Inputs and scores of the newest batch against the champion's reference; None without a batch.
        matured_rows: Predictions whose truth is known, over all batches.
        performance: Metrics on them with intervals, as evaluated; None where there are too few.
        decision: What follows.
    """

    product: str
    model_version: str
    as_of: datetime
    drift: DriftReport | None
    matured_rows: int
    performance: dict[str, Any] | None
    decision: Decision

    def to_json(self) -> bytes:
        """The document; the same findings give the same bytes."""
        document = asdict(self) | {"as_of": self.as_of.isoformat()}
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def findings_path(product: str, as_of: datetime) -> str:
    """Its path in the lake: one per moment."""
    return f"monitoring/{product}/as_of={as_of:%Y-%m-%dT%H%M%S}.json"
