with branded as (
    select
        sold.*,
        coalesce(products.brand = 'Private', false) as is_private,
        coalesce(products.department = 'FUEL', false) as is_fuel
    from {{ ref("stg_retail__transactions") }} as sold
    -- Left: a line of an unknown product, once released from quarantine, is a purchase all the same.
    left join {{ ref("stg_retail__products") }} as products using (product_id)
)

select
    household_id,
    basket_id,
    any_value(retail_date) as retail_date,
    bool_or(is_purchase) as is_visit,
    cast(count(*) filter (where is_purchase) as integer) as line_count,
    cast(coalesce(sum(sales_value) filter (where is_purchase), 0) as decimal(18, 2)) as spend,
    cast(
        coalesce(sum(sales_value) filter (where is_purchase and is_private), 0) as decimal(18, 2)
    ) as private_spend,
    cast(
        coalesce(sum(sales_value) filter (where is_purchase and is_fuel), 0) as decimal(18, 2)
    ) as fuel_spend,
    cast(sum(retail_discount) as decimal(18, 2)) as retail_discount,
    cast(sum(coupon_discount) as decimal(18, 2)) as coupon_discount,
    cast(count(*) filter (where coupon_discount > 0) as integer) as coupon_line_count
from branded
group by household_id, basket_id
