"""The model that made an index: where its run is, and how it is loaded."""

import dataclasses
from typing import TYPE_CHECKING

from etils import epath

from stvh_jax.codes.visual_maps import Adaptation
from stvh_jax.errors import UserError
from stvh_jax.retrieval.index_info import IndexInfo
from stvh_jax.runs import packed

if TYPE_CHECKING:
    from stvh_jax.inference.encoder import Encoder


@dataclasses.dataclass(frozen=True, eq=False)
class IndexOutline:
    """What an index says of its codes, without its clips: enough to encode a clip for it.

    Attributes:
      info: what the index is.
      adaptation: what its visual bits were adapted by; None if they were not.
    """

    info: IndexInfo
    adaptation: Adaptation | None


def run_of(info: IndexInfo, run: epath.PathLike | None = None) -> str:
    """Names the run of the model that made an index.

    Args:
      info: what the index is.
      run: where the run is, if it was moved since.

    Raises:
      UserError: the index does not say, or there is no such run.
    """
    if run:
        return str(run)
    named = info.origin.get("run")
    if named is None:
        raise UserError("the index does not say which model made its codes; give --run FOLDER")
    if not packed.is_there(named):
        raise UserError(f"{named}, the run that made the index, is not there; give --run FOLDER")
    return named


def checkpoint_of(info: IndexInfo) -> str:
    """Says which checkpoint of the run made an index, `best` or `latest`."""
    return info.origin.get("checkpoint_kind", "best")


def load_encoder(info: IndexInfo, run: epath.PathLike | None = None) -> "Encoder":
    """Loads the model that made an index.

    Args:
      info: what the index is.
      run: where its run is, if it was moved since.

    Raises:
      UserError: it is not there, or cannot be read.
    """
    from stvh_jax.inference.encoder import load  # it loads JAX

    return load(run_of(info, run), checkpoint=checkpoint_of(info), bits=info.bits)
