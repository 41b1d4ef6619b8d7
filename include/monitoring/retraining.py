"""Should we retrain? A pure policy: facts in, a decision with its reasons out."""

from dataclasses import dataclass
from datetime import datetime

from include.spec.product import Drift, Retrain


@dataclass(frozen=True)
class Facts:
    """What monitoring has seen of the champion.

    Args:
        as_of: Now, in the data's time.
        trained_as_of: Time that the champion's training set was pinned as of.
        drift_breach: Whether inputs or scores crossed the product's bounds.
        performance_at_release: Primary metric on the test period, or None.
        performance_now: Primary metric on labels matured since, or None where there are too few.
        higher_is_better: Direction of the metric.
    """

    as_of: datetime
    trained_as_of: datetime
    drift_breach: bool
    performance_at_release: float | None
    performance_now: float | None
    higher_is_better: bool


@dataclass(frozen=True)
class Decision:
    """Whether a new candidate is to be trained, and why."""

    retrain: bool
    reasons: tuple[str, ...]


def decide_retraining(rule: Retrain, drift: Drift, facts: Facts) -> Decision:
    """Weighs the facts by the product's rules.

    As of the moment that it was trained as of, whatever is found, training again would learn the same.
    """
    if facts.as_of <= facts.trained_as_of:
        return Decision(False, ())
    reasons = []
    age = facts.as_of - facts.trained_as_of
    if rule.every is not None and age >= rule.every:
        reasons.append(f"the champion is {age.days} days old; a new one is due every {rule.every.days}")
    if rule.on_drift and facts.drift_breach:
        reasons.append("inputs or scores have drifted from the champion's reference")
    loss = relative_loss(facts)
    if rule.on_drift and loss is not None and loss >= drift.performance_drop:
        reasons.append(
            f"the primary metric lost {loss:.0%} since release; {drift.performance_drop:.0%} is a breach"
        )
    return Decision(bool(reasons), tuple(reasons))


def relative_loss(facts: Facts) -> float | None:
    """Share of the released metric that was lost; negative where it gained; None where either is unknown."""
    then, now = facts.performance_at_release, facts.performance_now
    if then is None or now is None or then == 0:
        return None
    change = (then - now) / abs(then)
    return change if facts.higher_is_better else -change
