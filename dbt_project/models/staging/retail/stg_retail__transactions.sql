-- A table, not a view: every model reads it, and the retail day costs a time zone look-up per row.
{{ config(materialized="table") }}

select
    household_id,
    basket_id,
    product_id,
    quantity,
    -- Lines without a unit, once released, carry coupons and corrections: discounts, but no purchase.
    quantity > 0 as is_purchase,
    sales_value,
    retail_disc as retail_discount,
    coupon_disc + coupon_match_disc as coupon_discount,
    transaction_timestamp,
    {{ retail_date("transaction_timestamp") }} as retail_date
from {{ source("retail", "transactions") }}
