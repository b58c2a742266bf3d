"""What an index does beside searching: puts its clips into groups, and gives them names."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stvh_jax.retrieval import naming
from stvh_jax.retrieval.checks import ClipName, check_chosen
from stvh_jax.retrieval.engine import Engine
from stvh_jax.retrieval.hits import Hit
from stvh_jax.retrieval.index_info import IndexInfo, Number

if TYPE_CHECKING:
    from stvh_jax.retrieval.groups import Groups


class NamedClips:
    """Clips with names, a part of `Index`.

    Attributes:
      engine: where they are.
    """

    engine: Engine

    @property
    def info(self) -> IndexInfo:
        """What the index is: its codes, where the clips came from, its own columns."""
        return self.engine.info

    def groups(
        self,
        number: int | None = None,
        *,
        focus: str | Number | None = None,
        scale: Number | None = None,
        where: str | None = None,
        seed: int = 0,
    ) -> "Groups":
        """Puts clips into groups of those that are alike, by k-means on the stored codes.

        The same clips, number, focus and seed make the same groups. They are fitted to 8,192
        clips, drawn at random where there are more, and every clip is put into the nearest.

        Args:
          number: how many groups, up to 256; None for that one of 2 to 16 whose groups stand apart
            the most, by their silhouette.
          focus: at which clips are compared, as for `search`.
          scale: the same from 0, visual, to 1, activity.
          where: a condition on the clips, as for `search`; all of them if None.
          seed: what is drawn at random depends on it.

        Returns:
          The groups, the largest first, numbered from 1: `group.clips` are (match, clip) of each,
          `group.representative` is the record of the clip nearest to the middle.

        Raises:
          UserError: there is no such focus, the condition cannot be read, or there are fewer clips
            with different codes than groups.
        """
        from stvh_jax.retrieval.groups import groups_of  # most programs make none

        check_chosen(where, ())
        weights = self.info.weights(self.info.focus_asked(focus, scale))
        return groups_of(self.engine, weights, number=number, where=where, seed=seed)

    def name(self, clips: Iterable[Hit | ClipName], name: str | None) -> int:
        """Gives clips a name, in place of the one that they have, if any, in one write.

        An index has a column `name` from then on, which conditions, hits and exports have, too;
        until then, and without any, it is as versions of the program wrote it that knew no names.

        Args:
          clips: hits, or (match, clip) of each.
          name: 1 to 64 characters; None takes their names away.

        Returns:
          How many of them had another name.

        Raises:
          NotFound: a clip is not in the index; none is named then.
          UserError: the name cannot be one, no clip is given, or the index cannot be written, is on
            a Milvus server, or has a column `name` of another kind.
        """
        return naming.give(self.engine, clips, name)

    def names(self, where: str | None = None) -> dict[str, int]:
        """Counts the clips of each name, the most frequent first.

        Args:
          where: a condition that they meet, as for `search`; all clips if None.

        Raises:
          UserError: the condition cannot be read.
        """
        check_chosen(where, ())
        return naming.count(self.engine, where)
