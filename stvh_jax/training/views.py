"""Views of a clip, which keep what the group does and change the rest: pure functions of a key.

| field of `config.label_free` | what a view changes |
|---|---|
| `zoom`, `shift` | how near the camera is, and where it looks |
| `squeeze` | how wide the picture is for its height |
| `tilt` | how much nearer those in front seem than those behind |
| `person_shift`, `person_size` | where each person stands, and how large each is |
| `box_noise` | the sides of each box, as another annotator or detector would set them |
| `leave_out` | who is seen |
| `moment`, `speed` | when the clip begins, and how fast time passes |
| `next_frames` | how many frames at the end stand still |
| `colour` | what the colours of the pixels are |

Boxes may leave the frame; padded slots stay zero. Strengths are standard deviations: of the
logarithm of a factor, of a shift in frame heights and widths or in heights of a box, or of frames.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped, UInt8

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.training.augment import leave_out, shake_boxes
from stvh_jax.unknown import UNKNOWN

# The shortest side of a box after a view, in frame heights and widths.
_SHORTEST = 1e-3


@dataclasses.dataclass(frozen=True)
class View:
    """What a view of a clip changes; a strength of 0 leaves it as it is. See this module."""

    zoom: float = 0.0
    shift: float = 0.0
    squeeze: float = 0.0
    tilt: float = 0.0
    person_shift: float = 0.0
    person_size: float = 0.0
    box_noise: float = 0.0
    leave_out: float = 0.0
    moment: float = 0.0
    speed: float = 0.0
    next_frames: int = 0
    colour: float = 0.0

    @classmethod
    def of(cls, config: Config) -> "View":
        """Reads `config.label_free`."""
        return cls(**{field.name: config[field.name] for field in dataclasses.fields(cls)})

    def __call__(self, key: jax.Array, clips: Clips) -> Clips:
        """Draws a view of each clip of a batch; every clip has draws of its own."""
        keys = jax.random.split(key, 6)
        if self.next_frames:
            clips = without_end(clips, self.next_frames)
        if self.moment or self.speed:
            clips = at_another_time(keys[0], clips, moment=self.moment, speed=self.speed)
        boxes, mask = clips.boxes, clips.actor_mask
        if self.zoom or self.shift or self.squeeze or self.tilt:
            boxes = move_camera(
                keys[1],
                boxes,
                zoom=self.zoom,
                shift=self.shift,
                squeeze=self.squeeze,
                tilt=self.tilt,
            )
        if self.person_shift or self.person_size:
            boxes = move_people(keys[2], boxes, shift=self.person_shift, size=self.person_size)
        if self.box_noise:
            boxes = shake_boxes(keys[3], boxes, mask, strength=self.box_noise)
        if self.leave_out:
            mask = leave_out(keys[4], mask, share=self.leave_out)
        frames = clips.frames
        if self.colour and frames is not None:
            frames = change_colours(keys[5], frames, strength=self.colour)
        boxes = jnp.where(mask[:, None, :, None], boxes, 0)
        return dataclasses.replace(clips, boxes=boxes, actor_mask=mask, frames=frames)


def draw_views(view: View, key: jax.Array, clips: Clips) -> Clips:
    """Draws two views of each of B clips: 2B clips, the views of a clip beside each other."""
    one, other = (view(each, clips) for each in jax.random.split(key))

    def beside(one, other):
        # Side by side, so that both views of a clip stay on its device.
        return jnp.stack([one, other], axis=1).reshape(-1, *one.shape[1:])

    return jax.tree.map(beside, one, other)


def move_camera(
    key: jax.Array,
    boxes: Float[Array, "B T N 4"],
    *,
    zoom: float = 0.0,
    shift: float = 0.0,
    squeeze: float = 0.0,
    tilt: float = 0.0,
) -> Float[Array, "B T N 4"]:
    """Shows the boxes of each clip by another camera, in all its frames alike.

    About the centre of the frame, y and x are multiplied by exp(zoom z_0 +- squeeze z_1 / 2) and
    moved by shift (z_2, z_3); then a box whose bottom is y lower than the centre, in frame heights,
    becomes exp(tilt z_4 y) times as large, and as much further from the middle; z standard normal.
    """
    draws = jax.random.normal(key, (5, boxes.shape[0], 1, 1))
    scale = jnp.stack(
        [
            jnp.exp(zoom * draws[0] + squeeze * draws[1] / 2),
            jnp.exp(zoom * draws[0] - squeeze * draws[1] / 2),
        ],
        axis=-1,
    )
    moved = shift * jnp.stack([draws[2], draws[3]], axis=-1)
    corners = boxes.reshape(*boxes.shape[:-1], 2, 2)
    corners = (corners - 0.5) * scale[..., None, :] + 0.5 + moved[..., None, :]
    (top, left), (bottom, right) = (jnp.moveaxis(corners[..., end, :], -1, 0) for end in range(2))
    factor = jnp.exp(tilt * draws[4] * (bottom - 0.5))
    height, width = factor * (bottom - top), factor * (right - left)
    middle = 0.5 + factor * ((left + right) / 2 - 0.5)
    return jnp.stack([bottom - height, middle - width / 2, bottom, middle + width / 2], axis=-1)


def move_people(
    key: jax.Array, boxes: Float[Array, "B T N 4"], *, shift: float = 0.0, size: float = 0.0
) -> Float[Array, "B T N 4"]:
    """Moves each person and makes another of them, larger or smaller, in all frames alike.

    The middle of the bottom side moves by shift times the height of the box (z_0, z_1); the sides
    are exp(size z_2) times as long; z standard normal.
    """
    draws = jax.random.normal(key, (3, boxes.shape[0], 1, boxes.shape[2]))
    top, left, bottom, right = jnp.moveaxis(boxes, -1, 0)
    tall = bottom - top
    bottom = bottom + shift * draws[0] * tall
    middle = (left + right) / 2 + shift * draws[1] * tall
    factor = jnp.exp(size * draws[2])
    height = jnp.maximum(factor * tall, _SHORTEST)
    width = jnp.maximum(factor * (right - left), _SHORTEST)
    return jnp.stack([bottom - height, middle - width / 2, bottom, middle + width / 2], axis=-1)


def at_another_time(
    key: jax.Array, clips: Clips, *, moment: float = 0.0, speed: float = 0.0
) -> Clips:
    """Shows each clip at another moment and another speed.

    Frame t shows what was at c + exp(speed z_0) (t - c) + moment z_1, c the middle of the clip, no
    earlier than its first frame and no later than its last: boxes between two frames are
    interpolated, pixels and features are those of the nearest frame.
    """
    count = clips.boxes.shape[1]
    draws = jax.random.normal(key, (2, clips.boxes.shape[0], 1))
    centre = (count - 1) / 2
    frames = jnp.arange(count)[None]
    places = centre + jnp.exp(speed * draws[0]) * (frames - centre) + moment * draws[1]
    places = jnp.clip(places, 0, count - 1)
    before = jnp.floor(places).astype(jnp.int32)
    after = jnp.minimum(before + 1, count - 1)
    rest = (places - before)[..., None, None]
    boxes = (1 - rest) * _taken(clips.boxes, before) + rest * _taken(clips.boxes, after)
    nearest = jnp.round(places).astype(jnp.int32)
    return dataclasses.replace(_shown_at(clips, nearest), boxes=boxes)


def without_end(clips: Clips, count: int) -> Clips:
    """Shows the frame before the last `count` frames of each clip in their place."""
    batch, frames = clips.boxes.shape[:2]
    places = jnp.broadcast_to(jnp.minimum(jnp.arange(frames), frames - 1 - count), (batch, frames))
    return dataclasses.replace(_shown_at(clips, places), boxes=_taken(clips.boxes, places))


def _shown_at(clips: Clips, frames: Int[Array, "B T"]) -> Clips:
    """Shows the pixels and features of other frames."""
    others = {
        name: _taken(values, frames)
        for name in ("frames", "roi_features", "actor_features")
        if (values := getattr(clips, name)) is not None
    }
    return dataclasses.replace(clips, **others)


def _taken(values: Shaped[Array, "B T *d"], frames: Int[Array, "B T"]) -> Shaped[Array, "B T *d"]:
    """Takes frames of each clip by their places."""
    return jax.vmap(lambda clip, places: clip[places])(values, frames)


def change_colours(
    key: jax.Array, frames: UInt8[Array, "B T H W 3"], *, strength: float
) -> UInt8[Array, "B T H W 3"]:
    """Mixes the colours of each clip, and makes it brighter or darker, in all frames alike.

    A pixel p, -0.5..0.5, becomes (I + strength Z_0) p + strength z_1 / 2; Z standard normal.
    """
    mixing, added = jax.random.split(key)
    matrices = jnp.eye(3)[None] + strength * jax.random.normal(mixing, (frames.shape[0], 3, 3))
    moved = 0.5 * strength * jax.random.normal(added, (frames.shape[0], 1, 1, 1, 3))
    pixels = frames.astype(jnp.float32) / 255 - 0.5
    pixels = jnp.einsum("bthwc,bcd->bthwd", pixels, matrices) + moved + 0.5
    return jnp.round(255 * jnp.clip(pixels, 0, 1)).astype(jnp.uint8)


def without_labels(clips: Clips) -> Clips:
    """Forgets which activities and actions a batch has."""
    return dataclasses.replace(
        clips,
        activity=jnp.full_like(clips.activity, UNKNOWN),
        action=jnp.full_like(clips.action, UNKNOWN),
    )
