select
    received.household_id,
    received.campaign_id,
    {{ nightly_close("received.start_date") }} as event_timestamp,
    {{ nightly_close("received.end_date + 1") }} as matured_timestamp,
    case
        when received.end_date + 1 <= observed.horizon_date
            then cast(received.first_redemption_date is not null as integer)
    end as redeemed
from {{ ref("int_household__campaigns_received") }} as received
cross join {{ ref("int_calendar__days_observed") }} as observed
where received.is_observed_from_start
