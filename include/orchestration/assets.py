"""The assets that chain the flows: a flow that publishes one starts those that wait for it."""

from airflow.sdk import Asset

from include.spec.source import Source


def raw(source: Source) -> Asset:
    """All tables of a source as main holds them; has an event for each commit that changed any."""
    return Asset(name=f"raw/{source.name}", uri=f"headrace://lake/raw/{source.name}", group="lake")
