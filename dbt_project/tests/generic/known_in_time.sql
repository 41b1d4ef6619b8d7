{# No row was known before it happened, and none is from beyond the horizon. #}
{% test known_in_time(model) %}
    select told.*
    from {{ model }} as told
    cross join {{ ref("int_calendar__days_observed") }} as observed
    where
        told.created_timestamp < told.event_timestamp
        or told.created_timestamp > {{ nightly_close("observed.horizon_date") }}
{% endtest %}
