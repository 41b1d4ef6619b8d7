"""Store 2: model versions, what they were made from, and the formats that may be loaded."""
