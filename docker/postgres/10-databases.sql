-- One role with one database of the same name for each purpose; passwords come from the container's environment.
\getenv airflow_password AIRFLOW_DATABASE_PASSWORD
\getenv lakefs_password LAKEFS_DATABASE_PASSWORD
\getenv mlflow_password MLFLOW_DATABASE_PASSWORD
\getenv retail_password RETAIL_DATABASE_PASSWORD
\getenv retail_live_password RETAIL_LIVE_DATABASE_PASSWORD
\getenv flights_password FLIGHTS_DATABASE_PASSWORD
create role airflow login password :'airflow_password';
create role lakefs login password :'lakefs_password';
create role mlflow login password :'mlflow_password';
create role retail login password :'retail_password';
create role retail_live login replication password :'retail_live_password';
create role flights login replication password :'flights_password';
create database airflow owner airflow;
create database lakefs owner lakefs;
create database mlflow owner mlflow;
create database retail owner retail;
create database retail_live owner retail_live;
create database flights owner flights;
