with redemptions as (
    select
        redemptions.household_id,
        redemptions.campaign_id,
        min(redemptions.redemption_date) as first_redemption_date
    from {{ ref("stg_retail__coupon_redemptions") }} as redemptions
    inner join {{ ref("stg_retail__campaign_descriptions") }} as campaigns
        on
            redemptions.campaign_id = campaigns.campaign_id
            and redemptions.redemption_date between campaigns.start_date and campaigns.end_date
    group by redemptions.household_id, redemptions.campaign_id
)

select
    sent.household_id,
    sent.campaign_id,
    campaigns.start_date,
    campaigns.end_date,
    -- What households did with a campaign before the data begins cannot be seen.
    campaigns.start_date >= observed.first_date as is_observed_from_start,
    redemptions.first_redemption_date
from {{ ref("stg_retail__campaigns") }} as sent
inner join {{ ref("stg_retail__campaign_descriptions") }} as campaigns using (campaign_id)
cross join {{ ref("int_calendar__days_observed") }} as observed
left join redemptions using (household_id, campaign_id)
where campaigns.start_date <= observed.horizon_date
