"""The Collective Activity dataset: its raw files and its TFDS builder."""
