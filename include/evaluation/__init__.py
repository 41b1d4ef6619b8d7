"""What a candidate is worth on rows it has never seen, and whether that is enough."""
