-- The running totals of three cuts, once more from the lines themselves and by their own clock: a line from
-- after the cut, or one missed before it, shows as a difference of at least a cent.
with chosen as (
    select
        unnest(
            [min(event_timestamp), quantile_disc(event_timestamp, 0.5), max(event_timestamp)]
        ) as event_timestamp
    from {{ ref("feat_household__baskets") }}
),

cuts as (
    select
        baskets.household_id,
        baskets.event_timestamp,
        baskets.spend
    from {{ ref("feat_household__baskets") }} as baskets
    inner join chosen using (event_timestamp)
)

select
    cuts.household_id,
    cuts.event_timestamp,
    any_value(cuts.spend) as told,
    sum(sold.sales_value) as happened
from cuts
inner join {{ ref("stg_retail__transactions") }} as sold
    on
        cuts.household_id = sold.household_id
        and cuts.event_timestamp > sold.transaction_timestamp
where sold.is_purchase
group by cuts.household_id, cuts.event_timestamp
having abs(any_value(cuts.spend) - sum(sold.sales_value)) > 0.005
