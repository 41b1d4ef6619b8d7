"""How data gets in: read a source, hold it to its contract, put it on a draft of the lake."""
