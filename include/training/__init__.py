"""Fitting: a pinned training set in, a model bundle out."""
