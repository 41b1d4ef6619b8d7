"""Will a household redeem one of a campaign's coupons?"""

from include.spec.product import Drift, Gate, Label, ModelProduct, Retrain, Serving, Split, days
from include.spec.training import GradientBoosting

PRODUCT = ModelProduct(
    name="coupon_redemption",
    owner="growth@retailer.example",
    tier="1",
    description="Chance that a household redeems a coupon of a campaign, told when the campaign starts.",
    source="retail",
    entity=("household_id", "campaign_id"),
    label=Label(table="labels__coupon_redemption", column="redeemed", matures_after=days(66)),
    features=(
        "feat_household__baskets",
        "feat_household__demographics",
        "feat_household__campaigns",
        "feat_campaign__terms",
        "feat_household_campaign__affinity",
    ),
    train=GradientBoosting(objective="binary", rounds=400, early_stopping=30),
    split=Split(validation=days(90), test=days(40)),
    gate=Gate(
        primary="average_precision",
        slices=("campaign_type",),
        calibration_error_max=0.08,
    ),
    serve=Serving(batch="daily", http=True),
    drift=Drift(psi=0.25, columns_share=0.4),
    retrain=Retrain(every=days(60), on_drift=True),
)
