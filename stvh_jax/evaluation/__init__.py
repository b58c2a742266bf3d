"""How good codes are: metrics, judging a model on a data set, and the report of it."""
