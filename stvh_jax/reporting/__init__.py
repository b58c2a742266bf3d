"""Presentation and nothing else: tables, HTML pages, plots."""
