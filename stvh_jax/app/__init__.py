"""The page: searching an index by looking, in a browser."""
