"""The assets that chain the flows: a flow that publishes one starts those that wait for it."""

from airflow.sdk import Asset

from include.spec.source import Source


def raw(source: Source) -> Asset:
    """All tables of a source as main holds them; has an event for each commit that changed any."""
    return Asset(name=f"raw/{source.name}", uri=f"headrace://lake/raw/{source.name}", group="lake")


def changes(source: Source) -> Asset:
    """The change logs of a source's captured tables; has an event when main has got more of them."""
    name = f"raw/{source.name}/changes"
    return Asset(name=name, uri=f"headrace://lake/{name}", group="lake")


def staged(source: Source) -> Asset:
    """Current state and history of a source's captured tables, as main holds them."""
    return Asset(name=f"staged/{source.name}", uri=f"headrace://lake/staged/{source.name}", group="lake")


def features(source: str) -> Asset:
    """All feature tables that follow from a source, as main holds them."""
    return Asset(name=f"features/{source}", uri=f"headrace://lake/features/{source}", group="lake")


def champion(product: str) -> Asset:
    """The version of a product that serves; has an event for each promotion and rollback."""
    name = f"registry/{product}/champion"
    return Asset(name=name, uri=f"headrace://{name}", group="registry")


def predictions(product: str) -> Asset:
    """The predictions of a product, as main holds them."""
    name = f"predictions/{product}"
    return Asset(name=name, uri=f"headrace://lake/{name}", group="lake")


def retrain_request(product: str) -> Asset:
    """A breach that monitoring found; the event tells the reasons."""
    name = f"monitoring/{product}/retrain_request"
    return Asset(name=name, uri=f"headrace://{name}", group="monitoring")
