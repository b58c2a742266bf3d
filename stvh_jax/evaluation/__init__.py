"""How good codes are: metrics, the evaluation of a model on a data set, and its report."""
