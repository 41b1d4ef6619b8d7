with bought as (
    select
        received.household_id,
        received.campaign_id,
        received.start_date,
        sold.product_id,
        sold.is_purchase,
        sold.sales_value,
        sold.coupon_discount
    from {{ ref("int_household__campaigns_received") }} as received
    inner join {{ ref("stg_retail__transactions") }} as sold
        on
            received.household_id = sold.household_id
            and received.start_date > sold.retail_date
            and received.start_date - 91 <= sold.retail_date
    where received.is_observed_from_start
),

covered as (
    select
        bought.household_id,
        bought.campaign_id,
        count(*) filter (where bought.is_purchase) as line_count,
        count(distinct bought.product_id) filter (where bought.is_purchase) as product_count,
        sum(bought.sales_value) filter (where bought.is_purchase) as spend,
        sum(bought.coupon_discount) as coupon_discount
    from bought
    inner join {{ ref("int_campaign__products_covered") }} using (campaign_id, product_id)
    group by bought.household_id, bought.campaign_id
),

totals as (
    select
        household_id,
        campaign_id,
        sum(sales_value) filter (where is_purchase) as spend
    from bought
    group by household_id, campaign_id
)

select
    received.household_id,
    received.campaign_id,
    {{ day_start("received.start_date") }} as event_timestamp,
    {{ nightly_close("received.start_date") }} as created_timestamp,
    cast(coalesce(covered.line_count, 0) as integer) as affinity_lines_91d,
    cast(coalesce(covered.product_count, 0) as integer) as affinity_products_91d,
    cast(coalesce(covered.spend, 0) as double) as affinity_spend_91d,
    cast(coalesce(covered.coupon_discount, 0) as double) as affinity_coupon_discount_91d,
    cast(coalesce(covered.spend, 0) as double)
    / nullif(cast(totals.spend as double), 0) as affinity_spend_share_91d
from {{ ref("int_household__campaigns_received") }} as received
left join covered using (household_id, campaign_id)
left join totals using (household_id, campaign_id)
where received.is_observed_from_start
