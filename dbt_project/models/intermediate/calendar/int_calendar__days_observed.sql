-- The source is read after its nightly close, so its newest day is complete and the horizon is the day after.
select
    min(retail_date) as first_date,
    cast(max(retail_date) + 1 as date) as horizon_date
from {{ ref("stg_retail__transactions") }}
