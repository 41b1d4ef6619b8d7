{# A label is there exactly where its truth had been observed, and it matures after its event. #}
{% test truth_in_time(model, column_name) %}
    select told.*
    from {{ model }} as told
    cross join {{ ref("int_calendar__days_observed") }} as observed
    where
        told.matured_timestamp <= told.event_timestamp
        or told.event_timestamp > {{ nightly_close("observed.horizon_date") }}
        or (told.{{ column_name }} is null)
        != (told.matured_timestamp > {{ nightly_close("observed.horizon_date") }})
{% endtest %}
