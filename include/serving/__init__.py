"""Predictions by the champion, in batches and one by one."""
