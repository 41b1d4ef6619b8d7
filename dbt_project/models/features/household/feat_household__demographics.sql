-- The source keeps no history: what a household told about itself is taken as known from the first day on.
select
    demographics.household_id,
    {{ day_start("observed.first_date") }} as event_timestamp,
    {{ nightly_close("observed.first_date") }} as created_timestamp,
    demographics.age,
    demographics.income,
    demographics.home_ownership,
    demographics.marital_status,
    demographics.household_size,
    demographics.household_comp,
    demographics.kids_count
from {{ ref("stg_retail__demographics") }} as demographics
cross join {{ ref("int_calendar__days_observed") }} as observed
