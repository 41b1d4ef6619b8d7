with weeks as (
    select
        household_id,
        cast(date_trunc('week', retail_date) + interval '7 days' as date) as cut_date,
        count(*) filter (where is_visit) as visit_count,
        count(distinct retail_date) filter (where is_visit) as visit_day_count,
        count(*) filter (where coupon_line_count > 0) as coupon_visit_count,
        sum(line_count) as line_count,
        sum(coupon_line_count) as coupon_line_count,
        sum(spend) as spend,
        sum(private_spend) as private_spend,
        sum(fuel_spend) as fuel_spend,
        sum(retail_discount) as retail_discount,
        sum(coupon_discount) as coupon_discount,
        min(retail_date) filter (where is_visit) as first_visit_date,
        max(retail_date) filter (where is_visit) as last_visit_date,
        max(retail_date) filter (where coupon_line_count > 0) as last_coupon_date
    from {{ ref("int_household__baskets_totalled") }}
    group by household_id, date_trunc('week', retail_date)
),

-- Every week from a household's first to the last complete one: sums over weeks need the empty ones too.
spine as (
    select
        first_weeks.household_id,
        cast(unnest(
            generate_series(
                first_weeks.cut_date, cast(observed.horizon_date as timestamp), interval '7 days'
            )
        ) as date) as cut_date
    from (
        select
            household_id,
            min(cut_date) as cut_date
        from weeks
        group by household_id
    ) as first_weeks
    cross join {{ ref("int_calendar__days_observed") }} as observed
)

select
    spine.household_id,
    spine.cut_date,
    cast(coalesce(weeks.visit_count, 0) as integer) as visit_count,
    cast(coalesce(weeks.visit_day_count, 0) as integer) as visit_day_count,
    cast(coalesce(weeks.coupon_visit_count, 0) as integer) as coupon_visit_count,
    cast(coalesce(weeks.line_count, 0) as integer) as line_count,
    cast(coalesce(weeks.coupon_line_count, 0) as integer) as coupon_line_count,
    cast(coalesce(weeks.spend, 0) as decimal(18, 2)) as spend,
    cast(coalesce(weeks.private_spend, 0) as decimal(18, 2)) as private_spend,
    cast(coalesce(weeks.fuel_spend, 0) as decimal(18, 2)) as fuel_spend,
    cast(coalesce(weeks.retail_discount, 0) as decimal(18, 2)) as retail_discount,
    cast(coalesce(weeks.coupon_discount, 0) as decimal(18, 2)) as coupon_discount,
    weeks.first_visit_date,
    weeks.last_visit_date,
    weeks.last_coupon_date
from spine
left join weeks using (household_id, cut_date)
