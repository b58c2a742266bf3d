"""Packed bits and nothing else: packing, the nearest codes, and the filter matrix."""
