"""Sets of one's own footage: videos, tracks of their people, and a table of labels."""
