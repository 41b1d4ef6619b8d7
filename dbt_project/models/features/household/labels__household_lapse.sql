with visits as (
    select distinct
        household_id,
        retail_date
    from {{ ref("int_household__baskets_totalled") }}
    where is_visit
),

points as (
    select
        households.household_id,
        cast(unnest(
            generate_series(
                date_trunc('month', households.first_date) + interval '1 month',
                cast(observed.horizon_date as timestamp),
                interval '1 month'
            )
        ) as date) as cut_date
    from (
        select
            household_id,
            min(retail_date) as first_date
        from visits
        group by household_id
    ) as households
    cross join {{ ref("int_calendar__days_observed") }} as observed
),

returned as (
    select distinct
        points.household_id,
        points.cut_date
    from points
    inner join visits
        on
            points.household_id = visits.household_id
            and points.cut_date <= visits.retail_date
            and points.cut_date + {{ var("lapse_days", 30) }} > visits.retail_date
)

select
    points.household_id,
    {{ nightly_close("points.cut_date") }} as event_timestamp,
    {{ nightly_close("points.cut_date + " ~ var("lapse_days", 30)) }} as matured_timestamp,
    case
        when points.cut_date + {{ var("lapse_days", 30) }} <= observed.horizon_date
            then cast(returned.household_id is null as integer)
    end as lapsed
from points
cross join {{ ref("int_calendar__days_observed") }} as observed
left join returned using (household_id, cut_date)
