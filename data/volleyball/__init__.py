"""The Volleyball Dataset: its raw files, its TFDS builder and the check of its completeness."""
