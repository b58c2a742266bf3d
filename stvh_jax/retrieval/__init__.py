"""An index of clips and the search in it."""
