{# Sum over the weeks that end at a weekly cut; needs one row per household and week, gaps filled. #}
{% macro trailing_sum(column, weeks) -%}
    sum({{ column }}) over (
        partition by household_id order by cut_date
        rows between {{ weeks - 1 }} preceding and current row
    )
{%- endmacro %}

{# Sum over all weeks up to a weekly cut. #}
{% macro running_sum(column) -%}
    sum({{ column }}) over (partition by household_id order by cut_date rows unbounded preceding)
{%- endmacro %}

{# Days from the latest date so far to the cut; null where there was none. #}
{% macro days_since(date_column) -%}
    cast(cut_date - max({{ date_column }}) over (partition by household_id order by cut_date) as integer)
{%- endmacro %}
