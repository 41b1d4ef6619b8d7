"""Pages of Airflow's web server about what a run made: models and tests, gate results, lake commits."""
