"""Presentation only: tables, HTML pages, plots."""
