select
    coupon_line_id,
    coupon_upc,
    product_id,
    campaign_id
from {{ source("retail", "coupons") }}
