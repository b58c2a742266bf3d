"""The page of `search.py serve`: what it shows, what it takes in, and what is taken away."""
