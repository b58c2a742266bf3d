"""STVH and M-STVH: from a batch of clips to relaxed codes, class scores and what the losses need.

    frames or boxes -> actor features f_(0) -> L interleaving layers -> hash heads -> h -> classes

STVH has one hash head, on its last layer; M-STVH has one for every focus 0..L, where focus 0 is
what stands before any layer: its code is a fixed random projection of what the actors look like.
Two more models are no hashing of groups: one has no code and classifies frames, to train a backbone
with first; the other makes codes of whole frames and knows no actors, for comparison (Fig. 1a).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stvh_jax.clips import Clips, Leaf
from stvh_jax.codes import code_lengths
from stvh_jax.errors import UserError
from stvh_jax.graphs import (
    canonical_order,
    reorder,
    restore_order,
    spatial_graph,
    temporal_graph,
)
from stvh_jax.hash_heads import HashHead, RelationEncoder, VisualHashHead, masked_mean
from stvh_jax.interleaving import (
    CAUSALITIES,
    FUSIONS,
    LAYER_FIELDS,
    PRODUCTS,
    MultiFocusFusion,
    SpatiotemporalLayer,
)
from stvh_jax.plain_fusion import HEADS, POSITIONS, PlainFusion
from stvh_jax.roi_align import BORDERS
from stvh_jax.visual import WHOLE_FRAME, BoxFeatures, FrameFeatures

CHOICES = {
    "name": ("stvh", "mstvh", "global_hash", "frame_classifier"),
    "source": ("frames", "boxes", "features"),
    "roi_border": BORDERS,
    "embed": ("conv", "fc"),
    "visual_code": ("f_roi", "f_v"),
    "position": POSITIONS,
    "distance": ("normalised", "literal"),
    "product": PRODUCTS,
    "causal": CAUSALITIES,
    "fusion": FUSIONS,
    "dtype": ("float32", "bfloat16"),
}


@flax.struct.dataclass
class Outputs:
    """What a model says of B clips, for its F foci (M-STVH: 0..L, STVH: L alone).

    Attributes:
      relaxed: `[F, B, K]`, h, the codes before the sign, in (-1, 1).
      activity_logits: `[H, B, G]`, activity scores read from h, for the H foci that learn them
        (M-STVH: 1..L).
      action_logits: `[B, N, A]`, action scores, in the order the clip listed its actors.
      relation: `[B, K]`, a, the clip's code by the relations of its actors' actions (for Eq 8).
      reconstruction_error: `[B]`, mean squared error of the decoded features (Eq 13), zero
        without a decoder.
      prefix_logits: of nested codes, the activity scores read from the first bits alone, by how
        many they are.

    A model without codes leaves all but the logits None, one without actors what is theirs.
    """

    activity_logits: Leaf
    action_logits: Leaf = None
    relaxed: Leaf = None
    relation: Leaf = None
    reconstruction_error: Leaf = None
    prefix_logits: dict = flax.struct.field(default_factory=dict)

    def prefix(self, bits: int) -> "Outputs":
        """Takes the nested codes of the first `bits` bits, and what is read from them."""
        if bits == self.relaxed.shape[-1]:
            return self.replace(prefix_logits={})
        return self.replace(
            relaxed=self.relaxed[..., :bits],
            relation=None if self.relation is None else self.relation[..., :bits],
            activity_logits=self.prefix_logits[bits],
            prefix_logits={},
        )

    def nested(self) -> list["Outputs"]:
        """Gives the codes of every length, each as if it were the only one."""
        return [*map(self.prefix, self.prefix_logits), self.replace(prefix_logits={})]


class GroupActivityHasher(nn.Module):
    """STVH (`name="stvh"`) or M-STVH (`name="mstvh"`); the fields are those of `configs/base.py`.

    Attributes:
      num_activities: G.
      num_actions: A.
      bits: K.
      prefixes: the shorter lengths of nested codes.
    """

    num_activities: int
    num_actions: int
    name_: str
    bits: int
    prefixes: tuple[int, ...]
    layers: int
    features: int
    source: str
    num_frames: int
    num_actors: int
    key_frame: int
    backbone: Mapping
    freeze_backbone: bool
    frames_per_chunk: int
    roi_size: int
    sampling_ratio: int
    roi_border: str
    roi_channels: int
    embed: str
    temporal_contrast: bool
    visual_code: str
    position: str
    distance: str
    residual: bool
    product: str
    causal: str
    graph_weight: bool
    fusion: str
    ffn_multiplier: int
    dropout: float
    dtype: DTypeLike

    @property
    def foci(self) -> tuple[int, ...]:
        """The foci that have a code, from visual to activity."""
        return tuple(range(self.layers + 1)) if self.name_ == "mstvh" else (self.layers,)

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Encodes a batch of clips with T = `num_frames` and N = `num_actors`.

        With `source="features"` the clips carry `actor_features` `[B, T, N, D]` in place of frames;
        with `source="frames"` they may carry `roi_features`, what `RoiFeatures` made of the frames.
        """
        order = canonical_order(clips.boxes, clips.actor_mask, key_frame=self.key_frame)
        mask = reorder(clips.actor_mask, order, axis=1)
        boxes = jnp.where(mask[:, None, :, None], reorder(clips.boxes, order, axis=2), 0)
        features, shown, error = self.actor_features(clips, boxes, mask, order, train=train)
        in_space = spatial_graph(boxes, mask, form=self.distance)
        scale = [features, *self.fuse(features, boxes, in_space, mask, train=train)]

        heads = [
            HashHead(self.bits, self.num_activities, self.prefixes, name=f"head_{focus}")(
                scale[focus], mask
            )
            for focus in self.foci
            if focus > 0
        ]
        codes = [relaxed for relaxed, _ in heads]
        if 0 in self.foci:
            visual = features if self.visual_code == "f_v" else shown
            codes.insert(0, VisualHashHead(self.bits, name="head_0")(visual, mask, train=train))
        pooled = nn.LayerNorm(name="action_norm")(scale[-1].astype(jnp.float32).mean(axis=1))
        action_logits = nn.Dense(self.num_actions, name="action")(pooled)
        relation = RelationEncoder(self.bits, name="relation")(action_logits, in_space, mask)
        return Outputs(
            relaxed=jnp.stack(codes),
            activity_logits=jnp.stack([logits[self.bits] for _, logits in heads]),
            action_logits=restore_order(action_logits, order, axis=1),
            relation=relation,
            reconstruction_error=error,
            prefix_logits={
                length: jnp.stack([logits[length] for _, logits in heads])
                for length in self.prefixes
            },
        )

    def fuse(self, features, boxes, in_space, mask, *, train):
        """Fuses position and appearance: the features `[B, T, N, D]` after each of the L layers."""
        if self.position != "graphs":
            fusion = PlainFusion(
                self.position,
                self.layers,
                self.ffn_multiplier,
                self.dropout,
                self.dtype,
                name="plain_fusion",
            )
            return fusion(features, boxes, mask, train=train)
        in_time = temporal_graph(boxes)
        options = {field: getattr(self, field) for field in LAYER_FIELDS}
        layer = MultiFocusFusion if self.name_ == "mstvh" else SpatiotemporalLayer
        scale = []
        for index in range(1, self.layers + 1):
            features = layer(**options, name=f"layer_{index}")(
                features, in_time, in_space, mask, train=train
            )
            scale.append(features)
        return scale

    def actor_features(self, clips, boxes, mask, order, *, train):
        """Makes f_v `[B, T, N, D]`, zero in padded slots; what it was made from; Eq 13's error."""
        valid = mask[:, None, :, None]
        reconstruct = self.name_ == "mstvh"
        if self.source == "features":
            target = jnp.where(valid, reorder(clips.actor_features, order, axis=2), 0)
            features = nn.Dense(self.features, dtype=self.dtype, name="embedding")(target)
            decoded = None
        elif self.source == "boxes":
            module = BoxFeatures(
                self.features, self.temporal_contrast, reconstruct, self.dtype, name="boxes"
            )
            features, target, decoded = module(boxes, mask)
        else:
            module = visual_module(self, reconstruct=reconstruct)
            cached = clips.roi_features
            if cached is not None:
                cached = reorder(cached, order, axis=2)
            features, target, decoded = module(clips.frames, boxes, cached, train=train)
        features = jnp.where(valid, features, 0)
        if decoded is None:
            return features, target, jnp.zeros(boxes.shape[:1])
        target = jax.lax.stop_gradient(target.astype(jnp.float32))
        squared = (decoded.astype(jnp.float32) - target) ** 2
        error = masked_mean(squared, mask).reshape(boxes.shape[0], -1).mean(axis=1)
        return features, target, error


class FrameClassifier(nn.Module):
    """Actions and activity from the features of single frames: what a backbone is trained with.

    The first of the two stages in which the literature trains; the second starts with this one's
    backbone. An actor's features give the action, their maximum over the actors the activity;
    scores are averaged over the frames. The fields are those of `configs/base.py`.

    Attributes:
      num_activities: G.
      num_actions: A.
    """

    num_activities: int
    num_actions: int
    features: int
    backbone: Mapping
    freeze_backbone: bool
    frames_per_chunk: int
    roi_size: int
    sampling_ratio: int
    roi_border: str
    roi_channels: int
    embed: str
    temporal_contrast: bool
    dropout: float
    dtype: DTypeLike

    # No code at any focus.
    foci = ()

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Classifies a batch of clips."""
        mask = clips.actor_mask[:, None, :, None]
        module = visual_module(self, reconstruct=False)
        boxes = jnp.where(mask, clips.boxes, 0)
        features, _, _ = module(clips.frames, boxes, clips.roi_features, train=train)
        features = nn.relu(jnp.where(mask, features, 0).astype(jnp.float32))
        features = nn.Dropout(self.dropout, deterministic=not train)(features)
        action_logits = nn.Dense(self.num_actions, name="action")(features).mean(axis=1)
        # Features are not negative: padded actors, all zero, are no one's maximum.
        group = features.max(axis=2)
        activity_logits = nn.Dense(self.num_activities, name="activity")(group).mean(axis=1)
        return Outputs(activity_logits=activity_logits[None], action_logits=action_logits)


class GlobalVideoHasher(nn.Module):
    """A code of the whole frames, as video hashing without actors has it (Fig. 1a).

    The backbone's features, pooled over each frame, are embedded, averaged over time and hashed as
    STVH's are; without actors there are no actions and no relations to learn from. The fields are
    those of `configs/base.py`.

    Attributes:
      num_activities: G.
      bits: K.
      prefixes: the shorter lengths of nested codes.
    """

    num_activities: int
    bits: int
    prefixes: tuple[int, ...]
    layers: int
    features: int
    backbone: Mapping
    freeze_backbone: bool
    frames_per_chunk: int
    sampling_ratio: int
    roi_border: str
    temporal_contrast: bool
    dropout: float
    dtype: DTypeLike

    roi_size = WHOLE_FRAME
    roi_channels = 0
    embed = "fc"

    @property
    def foci(self) -> tuple[int, ...]:
        """The focus that has a code: that of the activity, as STVH numbers it."""
        return (self.layers,)

    @nn.compact
    def __call__(self, clips: Clips, *, train: bool) -> Outputs:
        """Encodes a batch of clips from their frames alone."""
        batch, frames = clips.frames.shape[:2]
        no_boxes = jnp.zeros((batch, frames, 1, 4))
        module = visual_module(self, reconstruct=False)
        features, _, _ = module(clips.frames, no_boxes, train=train)
        features = nn.relu(features.astype(jnp.float32))
        features = nn.Dropout(self.dropout, deterministic=not train)(features)
        head = HashHead(self.bits, self.num_activities, self.prefixes, name=f"head_{self.layers}")
        relaxed, logits = head(features, jnp.ones((batch, 1), bool))
        return Outputs(
            relaxed=relaxed[None],
            activity_logits=logits[self.bits][None],
            prefix_logits={length: logits[length][None] for length in self.prefixes},
        )


Model = GroupActivityHasher | GlobalVideoHasher | FrameClassifier


def visual_module(model: Model, *, reconstruct: bool) -> FrameFeatures:
    """Builds the visual module of a model, inside it."""
    return FrameFeatures(
        features=model.features,
        roi=roi_options(model),
        roi_channels=model.roi_channels,
        embed=model.embed,
        temporal_contrast=model.temporal_contrast,
        reconstruct=reconstruct,
        dtype=model.dtype,
        name="visual",
    )


def roi_options(model: Model) -> dict:
    """Picks the fields of `RoiFeatures`, but for its type, from a model."""
    return {
        "backbone": model.backbone,
        "roi_size": model.roi_size,
        "sampling_ratio": model.sampling_ratio,
        "border": model.roi_border,
        "frames_per_chunk": model.frames_per_chunk,
        "frozen": model.freeze_backbone,
    }


def build_model(
    config,
    *,
    activity_names: Sequence[str],
    action_names: Sequence[str],
    backbone_options: Mapping | None = None,
) -> Model:
    """Builds the model of `config.model` for these classes.

    Args:
      config: `config.model`.
      activity_names: the G activities.
      action_names: the A actions.
      backbone_options: what the weights that the backbone starts with ask of it, such as their
        pixel normalisation.

    Raises:
      UserError: a field has a value that no model has.
    """
    fields = dict(config)
    known = {field.name for field in dataclasses.fields(GroupActivityHasher)}
    known = known - {"num_activities", "num_actions", "name_", "prefixes", "parent"} | {"name"}
    for field in sorted(known ^ set(fields)):
        has = "has no" if field in known else "has an unknown"
        raise UserError(f"config.model {has} field {field!r}: it is of another version of stvh_jax")
    for field, choices in CHOICES.items():
        if fields[field] not in choices:
            raise UserError(
                f"config.model.{field} is {fields[field]!r}; choose one of {', '.join(choices)}"
            )
    *fields["prefixes"], fields["bits"] = checked_lengths(fields["bits"])
    fields["prefixes"] = tuple(fields["prefixes"])
    if fields["layers"] < 1:
        raise UserError(f"config.model.layers is {fields['layers']}; use 1 or more")
    if fields["position"] != "graphs" and fields["features"] % HEADS:
        raise UserError(
            f"config.model.features is {fields['features']}; position={fields['position']} needs a "
            f"multiple of {HEADS}, one part for each attention head"
        )
    if fields["source"] == "frames":
        check_visual_fields(fields)
    elif fields["freeze_backbone"]:
        raise UserError(
            f"config.model.source={fields['source']} has no backbone to freeze; set "
            "config.model.freeze_backbone=False"
        )
    elif fields["name"] in ("frame_classifier", "global_hash"):
        raise UserError(
            f"config.model.source={fields['source']} has no frames to read; use source=frames "
            f"for config.model.name={fields['name']}"
        )
    fields["backbone"] = with_options(dict(fields["backbone"]), backbone_options or {})
    fields["dtype"] = jnp.dtype(fields["dtype"])
    classes = {"num_activities": len(activity_names), "num_actions": len(action_names)}
    others = {"frame_classifier": FrameClassifier, "global_hash": GlobalVideoHasher}
    if fields["name"] in others:
        kind, fields = others[fields["name"]], fields | classes
        wanted = kind.__dataclass_fields__.keys() & fields.keys() - {"name"}
        return kind(**{field: fields[field] for field in wanted})
    fields["name_"] = fields.pop("name")
    return GroupActivityHasher(**classes, **fields)


def checked_lengths(bits: Any) -> tuple[int, ...]:
    """Gives the lengths that `config.model.bits` asks for.

    Raises:
      UserError: they are no lengths of nested codes.
    """
    lengths = code_lengths(bits)
    whole = lengths and all(type(length) is int for length in lengths)
    if not whole or lengths[0] < 8 or any(length % 8 for length in lengths):
        raise UserError(
            f"config.model.bits is {bits!r}; use a multiple of 8, e.g. 128, or several of them for "
            "nested codes, e.g. (16, 32, 64, 128)"
        )
    if list(lengths) != sorted(set(lengths)):
        raise UserError(f"config.model.bits is {bits!r}; give each length once, the shortest first")
    return lengths


def with_options(backbone: Mapping, options: Mapping) -> dict:
    """Adds to a backbone's fields what its weights ask of it.

    Raises:
      UserError: the config asks for something else.
    """
    for name, option in options.items():
        if backbone.get(name, option) != option:
            raise UserError(
                f"config.model.backbone.{name} is {backbone[name]!r}, and the weights it starts "
                f"with were trained with {option!r}; set it to that"
            )
    return {**options, **backbone}


def check_visual_fields(fields: Mapping) -> None:
    """Checks the fields of the visual module.

    Raises:
      UserError: names the field and what to do.
    """
    if fields["roi_size"] < 1:
        raise UserError(f"config.model.roi_size is {fields['roi_size']}; use 1 or more")
    if fields["embed"] == "conv" and fields["roi_size"] < 3:
        raise UserError(
            f"config.model.roi_size is {fields['roi_size']}; embed=conv needs 3 or more"
        )
    chunk = fields["frames_per_chunk"]
    if chunk < 0 or chunk and fields["num_frames"] % chunk:
        raise UserError(
            f"config.model.frames_per_chunk is {chunk} and a clip has {fields['num_frames']} "
            "frames; use a divisor of that, or 0 for all at once"
        )
    trained = fields["backbone"].get("batch_norm") == "trained" and not fields["freeze_backbone"]
    if chunk and trained:
        raise UserError(
            "config.model.backbone.batch_norm=trained needs the statistics of all frames; set "
            "config.model.frames_per_chunk=0, or batch_norm=frozen"
        )
