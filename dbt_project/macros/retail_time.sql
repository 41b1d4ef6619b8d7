{# The retail day of an instant in UTC. #}
{% macro retail_date(timestamp_column) -%}
    cast(timezone('{{ var("shop_time_zone", "America/New_York") }}', timezone('UTC', {{ timestamp_column }})) as date)
{%- endmacro %}

{# When a retail day begins, as an instant in UTC: midnight on the shops' clock. #}
{% macro day_start(date_column) -%}
    timezone('UTC', timezone('{{ var("shop_time_zone", "America/New_York") }}', cast({{ date_column }} as timestamp)))
{%- endmacro %}

{# The night's close on that day, UTC: the first instant at which all the days before can be known. #}
{% macro nightly_close(date_column) -%}
    (cast({{ date_column }} as timestamp) + interval '{{ var("close_hour", 6) }} hours')
{%- endmacro %}
