"""Names of matches and clips, and their natural order: "2" before "10", "seq2" before "seq10"."""

import re


def natural_key(name: str) -> tuple:
    """Gives a key that sorts names in their natural order, which compares numbers by their value.

    Of names that differ only in leading zeros the longer comes first, so that only equal names
    have equal keys.
    """
    # Texts and numbers take turns, beginning with a text, so that like is compared with like. A
    # number without its leading zeros is larger if it is longer.
    parts: list = re.split(r"([0-9]+)", name)
    for place in range(1, len(parts), 2):
        digits = parts[place].lstrip("0")
        parts[place] = (len(digits), digits)
    return parts, -len(name), name
