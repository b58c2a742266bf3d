"""The Collective Activity Extended set: its raw files and its TFDS builder."""
