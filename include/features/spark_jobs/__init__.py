"""Tables built from change logs by Spark: current state and history, `staged/<source>/<table>`."""
