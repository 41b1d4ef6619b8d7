select
    household_id,
    coupon_upc,
    campaign_id,
    redemption_date
from {{ source("retail", "coupon_redemptions") }}
