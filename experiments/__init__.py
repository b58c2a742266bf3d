"""The experiments of the paper, one file a table or figure: python -m experiments table6."""
