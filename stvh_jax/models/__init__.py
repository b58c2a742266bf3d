"""The models of the paper's sections 4 and 5, one idea a file."""
