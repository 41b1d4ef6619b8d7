"""What the shop of these tests declares, for tests and for the DAG file of a test alike."""

from include.spec.capture import Capture
from include.spec.reads import DatabaseTable
from include.spec.source import Column, Source, Table

READ = DatabaseTable(dsn="retail_dsn")
CUSTOMERS = Table(
    name="customers",
    description="One customer.",
    read=READ,
    key=("customer_id",),
    columns=(Column(name="customer_id", type="int32"), Column(name="name", type="string", nullable=True)),
)
ORDERS = Table(
    name="orders",
    description="One order.",
    read=READ,
    key=("order_id",),
    columns=(
        Column(name="order_id", type="int64"),
        Column(name="customer_id", type="int32"),
        Column(name="amount", type="decimal(10,2)"),
    ),
)


def shop_source(name: str) -> Source:
    """Two tables, captured through a publication and a slot of that name."""
    return Source(
        name="shop",
        owner="shop@retailer.example",
        description="Two tables.",
        tables=(CUSTOMERS, ORDERS),
        capture=Capture(
            dsn="retail_dsn",
            tables=("customers", "orders"),
            publication=name,
            slot=name,
            publish_every_s=0.5,
        ),
    )
