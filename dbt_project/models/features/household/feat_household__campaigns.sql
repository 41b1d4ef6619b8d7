with received as (
    select * from {{ ref("int_household__campaigns_received") }}
),

starts as (
    select distinct
        household_id,
        start_date as cut_date
    from received
    where is_observed_from_start
),

redeemed as (
    select
        starts.household_id,
        starts.cut_date,
        count(*) as coupons_redeemed,
        max(redemptions.redemption_date) as last_redemption_date
    from starts
    inner join {{ ref("stg_retail__coupon_redemptions") }} as redemptions
        on
            starts.household_id = redemptions.household_id
            and starts.cut_date > redemptions.redemption_date
    group by starts.household_id, starts.cut_date
),

before as (
    select
        starts.household_id,
        starts.cut_date,
        count(received.campaign_id) as campaigns_received,
        count(*) filter (where received.end_date >= starts.cut_date) as campaigns_running,
        count(*) filter (where received.first_redemption_date < starts.cut_date) as campaigns_redeemed,
        max(received.start_date) as last_start_date
    from starts
    left join received
        on
            starts.household_id = received.household_id
            and starts.cut_date > received.start_date
    group by starts.household_id, starts.cut_date
)

select
    before.household_id,
    {{ day_start("before.cut_date") }} as event_timestamp,
    {{ nightly_close("before.cut_date") }} as created_timestamp,
    cast(before.campaigns_received as integer) as campaigns_received,
    cast(before.campaigns_running as integer) as campaigns_running,
    cast(before.campaigns_redeemed as integer) as campaigns_redeemed,
    cast(coalesce(redeemed.coupons_redeemed, 0) as integer) as coupons_redeemed,
    cast(before.campaigns_redeemed as double)
    / nullif(before.campaigns_received, 0) as campaign_redemption_share,
    cast(before.cut_date - before.last_start_date as integer) as days_since_campaign,
    cast(before.cut_date - redeemed.last_redemption_date as integer) as days_since_redemption
from before
left join redeemed using (household_id, cut_date)
