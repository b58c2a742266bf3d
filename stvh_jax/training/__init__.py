"""Training: the loop, the losses, the optimizer, and what a run needs around them."""
