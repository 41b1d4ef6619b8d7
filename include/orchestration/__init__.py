"""The seam to Airflow: what its tasks do, and with what defaults. It knows the stations; none knows it."""
