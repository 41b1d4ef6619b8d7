"""What came of the demo, read from the stores that know it; for the terminal, and laid out as a page."""
