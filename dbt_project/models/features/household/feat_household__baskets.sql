with summed as (
    select
        household_id,
        cut_date,
        {{ trailing_sum("visit_count", 1) }} as visits_7d,
        {{ trailing_sum("visit_count", 4) }} as visits_28d,
        {{ trailing_sum("visit_count", 13) }} as visits_91d,
        {{ trailing_sum("visit_day_count", 13) }} as visit_days_91d,
        {{ trailing_sum("cast(visit_count > 0 as integer)", 13) }} as active_weeks_91d,
        {{ trailing_sum("line_count", 13) }} as lines_91d,
        {{ trailing_sum("spend", 1) }} as spend_7d,
        {{ trailing_sum("spend", 4) }} as spend_28d,
        {{ trailing_sum("spend", 13) }} as spend_91d,
        {{ trailing_sum("private_spend", 13) }} as private_spend_91d,
        {{ trailing_sum("fuel_spend", 13) }} as fuel_spend_91d,
        {{ trailing_sum("retail_discount", 4) }} as retail_discount_28d,
        {{ trailing_sum("retail_discount", 13) }} as retail_discount_91d,
        {{ trailing_sum("coupon_discount", 13) }} as coupon_discount_91d,
        {{ trailing_sum("coupon_visit_count", 4) }} as coupon_visits_28d,
        {{ trailing_sum("coupon_visit_count", 13) }} as coupon_visits_91d,
        {{ trailing_sum("coupon_line_count", 13) }} as coupon_lines_91d,
        {{ running_sum("coupon_line_count") }} as coupon_lines,
        {{ running_sum("visit_count") }} as visits,
        {{ running_sum("spend") }} as spend,
        {{ days_since("last_visit_date") }} as days_since_visit,
        {{ days_since("last_coupon_date") }} as days_since_coupon,
        cast(
            cut_date - min(first_visit_date) over (partition by household_id order by cut_date) as integer
        ) as tenure_days
    from {{ ref("int_household__weeks_summarised") }}
)

select
    household_id,
    {{ day_start("cut_date") }} as event_timestamp,
    {{ nightly_close("cut_date") }} as created_timestamp,
    cast(visits_7d as integer) as visits_7d,
    cast(visits_28d as integer) as visits_28d,
    cast(visits_91d as integer) as visits_91d,
    cast(visit_days_91d as integer) as visit_days_91d,
    cast(active_weeks_91d as integer) as active_weeks_91d,
    cast(lines_91d as integer) as lines_91d,
    cast(spend_7d as double) as spend_7d,
    cast(spend_28d as double) as spend_28d,
    cast(spend_91d as double) as spend_91d,
    cast(fuel_spend_91d as double) as fuel_spend_91d,
    cast(retail_discount_28d as double) as retail_discount_28d,
    cast(retail_discount_91d as double) as retail_discount_91d,
    cast(coupon_discount_91d as double) as coupon_discount_91d,
    cast(coupon_visits_28d as integer) as coupon_visits_28d,
    cast(coupon_visits_91d as integer) as coupon_visits_91d,
    cast(coupon_lines_91d as integer) as coupon_lines_91d,
    cast(coupon_lines as integer) as coupon_lines,
    cast(visits as integer) as visits,
    cast(spend as double) as spend,
    days_since_visit,
    days_since_coupon,
    tenure_days,
    cast(spend_91d as double) / nullif(visits_91d, 0) as spend_per_visit_91d,
    cast(private_spend_91d as double) / nullif(cast(spend_91d as double), 0) as private_share_91d,
    -- 1 where the last 4 weeks went like the last 13.
    visits_28d * 3.25e0 / nullif(visits_91d, 0) as visits_trend,
    cast(spend_28d as double) * 3.25e0 / nullif(cast(spend_91d as double), 0) as spend_trend
from summed
-- A household is seen once it has bought something; a first basket may hold nothing but released corrections.
where visits > 0
