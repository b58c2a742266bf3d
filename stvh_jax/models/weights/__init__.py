"""Weights of other projects' networks: reading them, naming them, converting them."""
