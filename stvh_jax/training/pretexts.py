"""Pretexts: people are read from the codes of views, so that codes tell of people without a label.

Each pretext has a small network of its own, a `Reader`, which is trained with the model and is no
part of it. It is told something of a person and the code of a view, and reads the rest:

| `config.label_free` | of whom | told | read |
|---|---|---|---|
| `attributes_weight` | everybody | where the person stands | size, how much taller than expected, motion |
| `masked_people_weight` | those whom the view leaves out | all of it | whether the person is of this clip, or of another |
| `next_positions_weight` | everybody | what was seen of the person | where the person goes in the frames that views do not show |

The first is that of Nakatani et al., "Learning Group Activity Features Through Person Attribute
Prediction", CVPR 2024, with attributes that boxes and tracks have. People are described as
`training.arrangements` has it. Codes are those of the last focus.
"""  # noqa: E501

import dataclasses
from collections.abc import Callable
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.outputs import Outputs
from stvh_jax.training.arrangements import describe_people

_WIDTH = 128
_SMALL = 1e-6
# How many numbers of `describe_people` say where a person stands.
_PLACE = 2


class Reader(nn.Module):
    """Reads numbers of people from the codes of views: two dense layers of both."""

    numbers: int

    @nn.compact
    def __call__(self, codes: Float[Array, "V K"], told: Float[Array, "V N Q"]):
        """Returns `[V, N, numbers]`."""
        hidden = nn.Dense(_WIDTH, name="code")(codes)[:, None] + nn.Dense(_WIDTH, name="told")(told)
        return nn.Dense(self.numbers, name="read")(nn.gelu(hidden))


@dataclasses.dataclass(frozen=True)
class Question:
    """What a pretext asks of the people of V views.

    Attributes:
      told: what the reader is told of each person.
      answers: what it is to read.
      asked: true for people who are asked of.
      loss: `(read, answers, asked) -> loss`.
    """

    told: Float[Array, "V N Q"]
    answers: Float[Array, "V N F"]
    asked: Bool[Array, "V N"]
    loss: Callable[[Array, Array, Array], Float[Array, ""]]


def unexplained(
    read: Float[Array, "V N F"], answers: Float[Array, "V N F"], asked: Bool[Array, "V N"]
) -> Float[Array, ""]:
    """Computes the share of the answers' variance that is not read, the mean over the numbers.

    The readers give answers less their mean, over their standard deviation.
    """
    mask = asked[..., None]
    count = jnp.maximum(mask.sum(), 1)

    def mean(values: Float[Array, "V N F"]) -> Float[Array, "1 1 F"]:
        return jnp.where(mask, values, 0).sum(axis=(0, 1), keepdims=True) / count

    centred = answers - mean(answers)
    scaled = centred / jnp.sqrt(mean(jnp.square(centred)) + _SMALL)
    return mean(jnp.square(read - scaled)).mean()


def mistaken(
    read: Float[Array, "V N 1"], answers: Float[Array, "V N 1"], asked: Bool[Array, "V N"]
) -> Float[Array, ""]:
    """Computes the binary cross-entropy of logits, the mean over who is asked of."""
    losses = optax.losses.sigmoid_binary_cross_entropy(read, answers)[..., 0]
    return jnp.where(asked, losses, 0).sum() / jnp.maximum(asked.sum(), 1)


def ask_attributes(shown: Clips, clips: Clips, *, aspect: float, next_frames: int) -> Question:
    """Asks of everybody in a clip what it looks like from where it stands."""
    del next_frames
    people = _of_views(describe_people(clips.boxes, clips.actor_mask, aspect=aspect))
    asked = _of_views(_valid(clips))
    return Question(people[..., :_PLACE], people[..., _PLACE:], asked, unexplained)


def ask_masked_people(shown: Clips, clips: Clips, *, aspect: float, next_frames: int) -> Question:
    """Asks of people whom their views leave out, and of those of the next clip, who is whose."""
    del next_frames
    people = _of_views(describe_people(clips.boxes, clips.actor_mask, aspect=aspect))
    hidden = _of_views(_valid(clips)) & ~shown.actor_mask
    # Two further is the same view of the next clip. Where it only pads the batch, nobody is asked.
    others, of_others = (jnp.roll(values, -2, axis=0) for values in (people, hidden))
    own = _of_views(clips.clip_mask)[:, None]
    answers = jnp.concatenate([jnp.ones_like(hidden), jnp.zeros_like(of_others)], axis=1)
    return Question(
        told=jnp.concatenate([people, others], axis=1),
        answers=answers[..., None].astype(jnp.float32),
        asked=jnp.concatenate([hidden, of_others & own], axis=1),
        loss=mistaken,
    )


def ask_next_positions(shown: Clips, clips: Clips, *, aspect: float, next_frames: int) -> Question:
    """Asks of everybody in a clip where it goes in the last frames, which views do not show."""
    seen = clips.boxes[:, :-next_frames]
    people = describe_people(seen, clips.actor_mask, aspect=aspect)
    moved = next_motion(clips.boxes, clips.actor_mask, aspect=aspect, next_frames=next_frames)
    return Question(_of_views(people), _of_views(moved), _of_views(_valid(clips)), unexplained)


def next_motion(
    boxes: Float[Array, "B T N 4"],
    actor_mask: Bool[Array, "B N"],
    *,
    aspect: float,
    next_frames: int,
) -> Float[Array, "B N 2"]:
    """Computes how far each person goes in the last frames, in its own mean heights.

    y and x of the middle of the box, less the mean over the people, which is the camera's motion;
    zeros for padded actors.
    """
    top, left, bottom, right = jnp.moveaxis(boxes, -1, 0)
    places = jnp.stack([(top + bottom) / 2, aspect * (left + right) / 2], axis=-1)
    height = jnp.maximum((bottom - top).mean(axis=1), _SMALL)[..., None]
    moved = (places[:, -1] - places[:, -1 - next_frames]) / height
    mask = actor_mask[..., None]
    count = jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
    together = jnp.where(mask, moved, 0).sum(axis=1, keepdims=True) / count
    return jnp.where(mask, moved - together, 0)


# Each weighs `config.label_free.<name>_weight`.
PRETEXTS: dict[str, Callable[..., Question]] = {
    "attributes": ask_attributes,
    "masked_people": ask_masked_people,
    "next_positions": ask_next_positions,
}


def create_readers(
    key: jax.Array, outputs: Outputs, clips: Clips, *, config: Config, aspect: float
) -> dict | None:
    """Initialises the readers of all pretexts that have a weight; None if none has.

    Args:
      key: of the draw.
      outputs: of some clips; only the length of their codes is read.
      clips: these clips.
      config: `config.label_free`.
      aspect: the width of a frame over its height.
    """
    both = jax.tree.map(_of_views, clips)
    codes = _of_views(outputs.relaxed[-1])
    readers = {}
    for number, (name, question) in enumerate(_asked(both, clips, config, aspect).items()):
        reader = Reader(question.answers.shape[-1])
        variables = reader.init(jax.random.fold_in(key, number), codes, question.told)
        readers[name] = variables["params"]
    return readers or None


def terms_of_pretexts(
    readers: dict,
    outputs: Outputs,
    shown: Clips,
    clips: Clips,
    *,
    config: Config,
    aspect: float,
) -> dict[str, Float[Array, ""]]:
    """Computes what is read wrongly of people, by pretext.

    Args:
      readers: their parameters, as `create_readers` makes them.
      outputs: of two views of B clips, those of a clip beside each other.
      shown: the views.
      clips: the clips.
      config: `config.label_free`.
      aspect: the width of a frame over its height.
    """
    terms = {}
    for name, question in _asked(shown, clips, config, aspect).items():
        reader = Reader(question.answers.shape[-1])
        read = reader.apply({"params": readers[name]}, outputs.relaxed[-1], question.told)
        terms[name] = question.loss(cast(Array, read), question.answers, question.asked)
    return terms


def _asked(shown: Clips, clips: Clips, config: Config, aspect: float) -> dict[str, Question]:
    """Asks what the pretexts that have a weight ask."""
    options = {"aspect": aspect, "next_frames": config.next_frames}
    return {
        name: ask(shown, clips, **options)
        for name, ask in PRETEXTS.items()
        if config[f"{name}_weight"]
    }


def _valid(clips: Clips) -> Bool[Array, "B N"]:
    """Says who is a person of a clip that does not only pad the batch."""
    return clips.actor_mask & clips.clip_mask[:, None]


def _of_views(values: Array) -> Array:
    """Gives both views of each clip what the clip has."""
    return jnp.repeat(values, 2, axis=0)
