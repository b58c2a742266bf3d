"""Groups of clips that look alike, which stand for their matches where these are not known.

Clips of one match lie close together once what they show is whitened. They are joined by average
linkage (Sokal and Michener, 1958) to many small groups: one match in several groups does little
harm, two matches in one group do much.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage

# The clips of a group on average, and the fewest of one that is kept.
_CLIPS, _FEWEST = 16, 8
# Clips that are joined to each other; linkage takes the square of their number. Others join the
# group whose mean is nearest.
_MOST = 8192


def group_alike(
    whitened: Float[np.ndarray, "M E"], *, rng: np.random.RandomState
) -> Int[np.ndarray, "M"]:
    """Numbers the groups of clips that look alike; -1 for clips that look like few others.

    Where no two groups have enough clips, all clips are in groups, however small.

    Args:
      whitened: what the clips show.
      rng: chooses the clips that are joined, where there are many.
    """
    lengths = np.linalg.norm(whitened, axis=1, keepdims=True)
    directions = whitened / np.maximum(lengths, 1e-12)
    joined = np.arange(len(directions))
    if len(joined) > _MOST:
        joined = rng.permutation(len(joined))[:_MOST]
    number = max(min(len(directions) // _CLIPS, len(joined) // 4), 1)
    found = fcluster(linkage(directions[joined], "average"), number, "maxclust") - 1
    means = np.stack(
        [directions[joined[found == each]].mean(axis=0) for each in range(found.max() + 1)]
    )
    groups = (directions @ means.T).argmax(axis=1)
    groups[joined] = found
    counts = np.bincount(groups, minlength=len(means))
    kept = counts >= _FEWEST
    if kept.sum() < 2:
        return groups
    return np.where(kept[groups], groups, -1)
