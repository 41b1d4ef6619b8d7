select
    product_id,
    department,
    brand
from {{ source("retail", "products") }}
