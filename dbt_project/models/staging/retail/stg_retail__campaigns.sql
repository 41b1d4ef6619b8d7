select
    campaign_id,
    household_id
from {{ source("retail", "campaigns") }}
