"""The gates: what must be true of a table before it may be published, and whether it is."""
