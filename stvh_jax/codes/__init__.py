"""Packed hash codes: packing, the nearest codes, and the filter matrix."""
