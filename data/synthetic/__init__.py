"""Rendered matches and streets, for demos and tests."""
