"""What a search can ask for beside one code: `index.search(query=...)`.

Each of these is a linear query, a weight for every bit, and so are their sums:

    from_clip(encoding.relaxed) + 0.5 * toward_class(encoding.activity_probabilities)
    by_name("r_spike")
    like(liked_codes, not_like=other_codes, prior=from_codes(encoding.codes))
"""

from stvh_jax.codes.linear_query import LinearQuery
from stvh_jax.codes.query_kinds import (
    by_name,
    from_clip,
    from_codes,
    like,
    toward_class,
    toward_class_of,
)

__all__ = [
    "LinearQuery",
    "by_name",
    "from_clip",
    "from_codes",
    "like",
    "toward_class",
    "toward_class_of",
]
