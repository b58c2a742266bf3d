"""The page: moments of an index shown, searched and taught in a browser."""
