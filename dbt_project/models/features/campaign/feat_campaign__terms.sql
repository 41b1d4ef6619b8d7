with sent as (
    select
        campaign_id,
        count(*) as household_count
    from {{ ref("stg_retail__campaigns") }}
    group by campaign_id
),

offered as (
    select
        campaign_id,
        count(distinct coupon_upc) as coupon_count,
        count(distinct product_id) as product_count
    from {{ ref("stg_retail__coupons") }}
    group by campaign_id
)

select
    campaigns.campaign_id,
    {{ day_start("campaigns.start_date") }} as event_timestamp,
    {{ nightly_close("campaigns.start_date") }} as created_timestamp,
    campaigns.campaign_type,
    cast(campaigns.end_date - campaigns.start_date as integer) as duration_days,
    cast(coalesce(sent.household_count, 0) as integer) as household_count,
    cast(coalesce(offered.coupon_count, 0) as integer) as coupon_count,
    cast(coalesce(offered.product_count, 0) as integer) as product_count
from {{ ref("stg_retail__campaign_descriptions") }} as campaigns
cross join {{ ref("int_calendar__days_observed") }} as observed
left join sent using (campaign_id)
left join offered using (campaign_id)
where campaigns.start_date between observed.first_date and observed.horizon_date
