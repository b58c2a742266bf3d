"""Several processes that train one model together."""

import numpy as np
from jax.experimental import multihost_utils

from stvh_jax.errors import UserError


def in_every_process(function, *arguments):
    """Calls a function in every process; if it fails in one, no other is left waiting.

    Raises:
      UserError: of the function, or of another process.
    """
    result, mistake = None, None
    try:
        result = function(*arguments)
    except UserError as error:
        mistake = error
    if multihost_utils.process_allgather(np.int32(mistake is not None)).any():
        raise mistake or UserError("another process has failed; see its message")
    return result
