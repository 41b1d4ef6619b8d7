"""Will a household stay away for the next thirty days?"""

from include.spec.product import Drift, Gate, Label, ModelProduct, Retrain, Serving, Split, days
from include.spec.training import TabularNet

PRODUCT = ModelProduct(
    name="household_lapse",
    owner="loyalty@retailer.example",
    tier="2",
    description="Chance that a household does not visit in the thirty days from the first of a month.",
    source="retail",
    entity=("household_id",),
    label=Label(table="labels__household_lapse", column="lapsed", matures_after=days(31)),
    features=("feat_household__baskets", "feat_household__demographics"),
    train=TabularNet(objective="binary", hidden=(128, 64), epochs=40),
    split=Split(validation=days(61), test=days(31)),
    gate=Gate(primary="average_precision", slices=("household_size",), calibration_error_max=0.05),
    serve=Serving(batch="monthly"),
    drift=Drift(psi=0.25, columns_share=0.4),
    retrain=Retrain(every=days(60), on_drift=True),
)
