"""Features: tables built by dbt over a commit of the lake, and point-in-time-correct sets made of them."""
