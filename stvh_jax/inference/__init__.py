"""A trained model that encodes clips."""
