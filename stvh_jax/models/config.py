"""Every field of a model: its meaning, its default, its choices and its check, each in one place.

`ModelConfig` is nested as the model is: `visual` makes actor features, `fusion` joins them with
position, `heads` make codes of them. In an experiment the same fields lie flat in `config.model`:
`ModelConfig.of` reads that, and `ModelConfig.defaults` is what the base config has.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from stvh_jax.errors import UserError, shown
from stvh_jax.fields import (
    Checked,
    Number,
    check_names,
    choice,
    declared,
    default_of,
    entry,
    mapping,
    setting,
    share,
    switch,
    whole,
)

# Ways in which a standard transformer block takes position, and the attention heads of a block.
PLAIN_POSITIONS = ("before", "after", "add", "concat")
ATTENTION_HEADS = 8
# Sources of actor features that are the boxes alone: boxes may be mirrored or changed at random.
SOURCES_OF_BOXES = ("boxes", "boxes_and_appearance")
# The most lengths of nested codes: each has a classifier of its own.
MOST_LENGTHS = 64


def reads_boxes(source: str, embed: str) -> bool:
    """Says whether actor features are those of boxes alone, by two fields of `config.model`."""
    return source in SOURCES_OF_BOXES or (source == "frames" and embed == "boxes")


def _check_lengths(name: str, bits: Any) -> None:
    """Checks that these are the length of a code, or lengths of nested codes."""
    lengths = bits if isinstance(bits, tuple) else (bits,)
    if not 0 < len(lengths) <= MOST_LENGTHS or any(
        type(length) is not int or length < 8 or length % 8 for length in lengths
    ):
        raise UserError(
            f"{name} is {shown(bits)}; use a multiple of 8, e.g. 128, or several of them "
            "for nested codes, e.g. (16, 32, 64, 128)"
        )
    if list(lengths) != sorted(set(lengths)):
        raise UserError(f"{name} is {shown(bits)}; give each length once, the shortest first")
    if lengths[-1] > 8192:
        raise UserError(f"{name} is {shown(bits)}; use 8192 or less")


def _check_backbone(name: str, backbone: Any) -> None:
    """Checks that this names a backbone; `build_backbone` checks the name and the options."""
    if not isinstance(backbone, Mapping) or not isinstance(backbone.get("name"), str):
        raise UserError(
            f"{name} is {shown(backbone)}; give a backbone's name and options, "
            "e.g. {'name': 'small'}"
        )


@dataclasses.dataclass(frozen=True)
class _Part(Checked):
    """A part of `config.model`, where the fields of all parts lie flat."""

    path: ClassVar[str] = "config.model"


@dataclasses.dataclass(frozen=True)
class VisualConfig(_Part):
    """How actor features are made."""

    # Where they come from: "frames", "boxes" alone, or precomputed "features". With
    # "boxes_and_appearance" they come from the boxes, and focus 0 shows the clip's appearance:
    # features of whole frames, which say which match it is, but little of the activity.
    source: str = choice("frames", "boxes", "features", "boxes_and_appearance")
    # C of the appearance that clips carry.
    appearance_channels: int = whole(2048, low=1, high=16384, added=True)
    # The backbone's name, an entry of BACKBONES (stvh_jax/models/backbones), and its options.
    backbone: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"name": "small"}, hash=False, metadata={"check": _check_backbone}
    )
    # Whether the backbone keeps the weights it starts with; its features can then be cached.
    freeze_backbone: bool = switch(False)
    # Frames of each clip that go through the backbone at a time; 0: all. Fewer need far less
    # memory; the backward pass computes them again.
    frames_per_chunk: int = whole(0, low=0, high=1024)
    # Side of the square that RoIAlign samples a box into, and its samples per bin and axis.
    roi_size: int = whole(5, low=1, high=64)
    sampling_ratio: int = whole(2, low=1, high=16)
    # What RoIAlign reads outside the map: "clamp" as torchvision, "zero" as crop_and_resize.
    roi_border: str = choice("clamp", "zero")
    # C of f_roi (d_v), by a 1x1 convolution after RoIAlign; 0: what the backbone gives.
    roi_channels: int = whole(0, low=0, high=16384)
    # f_roi -> f_v: "conv", 3D then 2D convolutions; "fc", one dense layer. With "boxes" f_v is made
    # of the boxes alone, and f_roi is what focus 0 shows, or the visual bits of a graded code.
    embed: str = choice("conv", "fc", "boxes")
    # Joins f_roi, or what is known of a box, with its deviation from the actor's mean over time
    # before the embedding: not in the paper, but motion is then learned several times sooner.
    temporal_contrast: bool = switch(False)
    # Whether a model of boxes alone is also told of each box its top and bottom edge, its form and
    # its rank from left to right; see `describe_boxes_in_detail` (stvh_jax/models/box_features.py).
    detailed_boxes: bool = switch(False, added=True)
    # How many nearest others a model of boxes is told of for each actor: where they stand and how
    # they move, seen from it; and then also how it moves itself (stvh_jax/models/neighbours.py).
    neighbours: int = whole(0, low=0, high=16, added=True)
    # Not a field of config.model: features of the whole frame in place of those under boxes.
    whole_frame: bool = False


@dataclasses.dataclass(frozen=True)
class FusionConfig(_Part):
    """How appearance and position are joined, layer by layer."""

    # L, the number of layers.
    layers: int = whole(3, low=1, high=64)
    # Where position joins appearance, an entry of FUSIONS (stvh_jax/models/fusions.py): in the
    # "graphs" of the paper's layers, or, for comparison, in standard transformer blocks: added
    # "before" or "after" every one (M-STVH^BD and M-STVH^ED), or once before the first, by "add"
    # or "concat". Of the fields below, the blocks read only the last.
    position: str = entry("graphs")
    # Eq 2: "normalised" Euclidean distance, or "literal" as printed.
    distance: str = choice("normalised", "literal")
    # Eq 3 and 10: pre-LN residuals; False is the printed form.
    residual: bool = switch(True)
    # Eq 4: AT_v x AT_p as a "matrix" product, or "hadamard" with renormalised rows.
    product: str = choice("matrix", "hadamard")
    # The future in G_T: "zero" as printed (it still weighs in the softmax), or "neg_inf".
    causal: str = choice("zero", "neg_inf")
    # Whether W, on the graph in AT_p, is learned.
    graph_weight: bool = switch(True)
    # Eq 11: "nested" G-MFAT(O-MFAT(f)), "sum" or "concat" of the two.
    fusion: str = choice("nested", "sum", "concat")
    # Hidden size of the feed-forward networks, in D.
    ffn_multiplier: int = whole(2, low=1, high=64)


@dataclasses.dataclass(frozen=True)
class HeadsConfig(_Part):
    """What codes and scores are made of the features."""

    # K, the length of a code, a multiple of 8; several, as (16, 32, 64, 128), train one code whose
    # first 16, 32 and 64 bits are codes themselves.
    bits: int | tuple[int, ...] = setting(128, _check_lengths)
    # What foci are: "printed", a code for each focus, as in the paper; or "graded", one code for
    # all of them, whose bits weigh differently at each (stvh_jax/codes/bit_weights.py).
    objective: str = choice("printed", "graded", added=True)
    # How many of a graded code's bits are visual, the last ones; the others are the activity's. And
    # what the visual ones are to tell apart (stvh_jax/training/visual_fitting.py): the "match" that
    # a clip is from, each "instance" of a scene, without labels, by which clips look alike, or
    # whatever a "random" projection does.
    visual_bits: int = whole(32, low=8, high=1 << 15, added=True)
    visual_supervision: str = choice("match", "instance", "random", added=True)
    # How a code is made of actor features, an entry of HASH_HEADS (stvh_jax/models/hash_heads.py).
    hash_head: str = entry("linear", added=True)
    # What focus 0 shows: "f_roi", what the actors look like, or "f_v", the features made from it;
    # the clip's appearance in place of "f_roi" for source="boxes_and_appearance".
    visual_code: str = choice("f_roi", "f_v")
    # What STVH reads actions from: "f_S", the output of the last layer, or "f_T", that of its
    # temporal half, as printed (4.4). M-STVH, and any fusion but "graphs", has the first alone.
    action_features: str = choice("f_S", "f_T", added=True)
    # Whether one half of the bits is made of the clip and the other of its mirror image, by the
    # same network: left and right are then alike to it. For models of boxes alone.
    symmetric: bool = switch(False, added=True)
    # Not fields of config.model: whether M-STVH has a code at focus 0; whether the model also says
    # what each frame shows; G and A, the numbers of
    # activities and actions that the data have, and the number of each activity's mirror image.
    has_visual_code: bool = True
    gives_views: bool = False
    num_activities: int = 1
    num_actions: int = 1
    mirrored_activities: tuple[int, ...] = ()

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths of the nested codes, the whole code last; of the activity's bits alone."""
        lengths = self.bits if isinstance(self.bits, tuple) else (self.bits,)
        return tuple(length - self.visual_part for length in lengths)

    @property
    def visual_part(self) -> int:
        """How many bits are visual: none of a code that has one focus."""
        return self.visual_bits if self.objective == "graded" else 0

    @property
    def length(self) -> int:
        """The length of the whole code; of the activity's bits alone."""
        return self.lengths[-1]

    @property
    def prefixes(self) -> tuple[int, ...]:
        """The lengths of nested codes but for the whole one."""
        return self.lengths[:-1]


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Part):
    """Everything that a model is built from; a config that cannot be built raises a `UserError`."""

    # "stvh": one code, for the activity; "mstvh": a code for every focus 0..layers;
    # "global_hash": one code of whole frames, without actors, to compare with; "frame_classifier":
    # no code, to train a backbone first.
    name: str = choice("mstvh", "stvh", "global_hash", "frame_classifier")
    # T, N and the key frame's place among the T, as the data has them.
    num_frames: int = whole(10, low=1, high=1024)
    num_actors: int = whole(12, low=1, high=1024)
    key_frame: int = whole(5, low=0, high=1023)
    # D, the size of an actor feature.
    features: int = whole(1024, low=1, high=16384)
    dropout: Number = share(0.0)
    # Compute type; parameters, softmaxes, hash heads and losses stay in float32.
    dtype: str = choice("float32", "bfloat16")
    visual: VisualConfig = VisualConfig()
    fusion: FusionConfig = FusionConfig()
    heads: HeadsConfig = HeadsConfig()

    def __post_init__(self):
        super().__post_init__()
        self._check_together()
        if self.visual.source == "frames":
            self._check_frames()

    @property
    def multi_focus(self) -> bool:
        """Whether every focus has a code: M-STVH, which also decodes what it has seen."""
        return self.name == "mstvh"

    @classmethod
    def of(cls, config: Any, **given) -> "ModelConfig":
        """Reads `config.model`, or any mapping with its fields.

        Args:
          config: all fields, flat; those that were added later may be absent.
          **given: values of the fields that are not of `config.model`, such as `num_actions`.

        Raises:
          UserError: a field is unknown, absent, or has a value that no model has.
        """
        values = mapping(cls.path, config)
        check_names(cls.path, _fields(), values)
        values |= given

        def taken(part: type) -> dict[str, Any]:
            names = {field.name for field in dataclasses.fields(part)}
            return {name: value for name, value in values.items() if name in names}

        parts = {name: part(**taken(part)) for name, part in _PARTS.items()}
        # One part has the name of a field in it, `fusion`.
        return cls(**(taken(cls) | parts))

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Lists the fields of `config.model`, flat, each with its default."""
        return {field.name: default_of(field) for field in _fields()}

    @classmethod
    def added(cls) -> dict[str, Any]:
        """Lists the fields that an older run's config may lack, with what held before them."""
        return {field.name: default_of(field) for field in _fields() if field.metadata.get("added")}

    def with_backbone_options(self, options: Mapping[str, Any]) -> "ModelConfig":
        """Adds to the backbone's options what its weights ask of it.

        Raises:
          UserError: the config asks for something else.
        """
        backbone = self.visual.backbone
        for name, option in options.items():
            if backbone.get(name, option) != option:
                raise UserError(
                    f"config.model.backbone.{name} is {backbone[name]!r}, and the weights it "
                    f"starts with were trained with {option!r}; set it to that"
                )
        visual = dataclasses.replace(self.visual, backbone={**options, **backbone})
        return dataclasses.replace(self, visual=visual)

    def _check_together(self) -> None:
        """Checks fields that depend on one another."""
        source, position = self.visual.source, self.fusion.position
        if self.key_frame >= self.num_frames:
            raise UserError(
                f"config.model.key_frame is {self.key_frame} and a clip has {self.num_frames} "
                "frames, counted from 0; use a lower number"
            )
        if self.heads.symmetric and source not in SOURCES_OF_BOXES:
            raise UserError(
                f"config.model.symmetric mirrors boxes alone; set it to False for source={source}"
            )
        of_boxes = reads_boxes(source, self.visual.embed)
        for name, nothing in (("detailed_boxes", False), ("neighbours", 0)):
            if getattr(self.visual, name) and not of_boxes:
                raise UserError(
                    f"config.model.{name} describes boxes alone; set it to {nothing} for "
                    f"source={source}"
                )
        if self.heads.visual_code == "f_v" and of_boxes and source != "boxes":
            raise UserError(
                "config.model.visual_code=f_v shows the boxes at focus 0; set it to f_roi for "
                f"source={source}" + " and embed=boxes" * (source == "frames")
            )
        self._check_graded()
        if self.heads.symmetric and any(length % 16 for length in self.heads.lengths):
            raise UserError(
                f"config.model.bits is {shown(self.heads.bits)}; config.model.symmetric makes two "
                "halves of them, or of those that are not visual: use multiples of 16"
            )
        if position in PLAIN_POSITIONS and self.features % ATTENTION_HEADS:
            raise UserError(
                f"config.model.features is {self.features}; position={position} needs a multiple "
                f"of {ATTENTION_HEADS}, one part for each attention head"
            )
        if source != "frames" and self.visual.freeze_backbone:
            raise UserError(
                f"config.model.source={source} has no backbone to freeze; set "
                "config.model.freeze_backbone=False"
            )
        if source != "frames" and self.name in ("frame_classifier", "global_hash"):
            raise UserError(
                f"config.model.source={source} has no frames to read; use source=frames for "
                f"config.model.name={self.name}"
            )

    def _check_graded(self) -> None:
        """Checks the parts of a graded code."""
        heads = self.heads
        if heads.objective == "printed":
            return
        if self.name not in ("stvh", "mstvh"):
            raise UserError(
                f"config.model.objective=graded is not for config.model.name={self.name}; set it "
                "to printed"
            )
        if isinstance(heads.bits, tuple) and len(heads.bits) > 1:
            raise UserError(
                f"config.model.bits is {shown(heads.bits)}; a graded code has one length, as 128"
            )
        if heads.visual_bits % 8 or heads.length < 8:
            whole = heads.length + heads.visual_bits
            raise UserError(
                f"config.model.visual_bits is {heads.visual_bits} of {whole}; give a multiple of 8 "
                "and leave at least 8 for the activity"
            )

    def _check_frames(self) -> None:
        """Checks the fields that only a model of frames reads."""
        visual = self.visual
        if visual.embed == "boxes" and self.name not in ("mstvh", "stvh"):
            raise UserError(
                f"config.model.name={self.name} reads pixels alone; set config.model.embed to "
                "conv or fc"
            )
        if visual.embed == "conv" and visual.roi_size < 3:
            raise UserError(
                f"config.model.roi_size is {visual.roi_size}; embed=conv needs 3 or more"
            )
        chunk = visual.frames_per_chunk
        if chunk and self.num_frames % chunk:
            raise UserError(
                f"config.model.frames_per_chunk is {chunk} and a clip has {self.num_frames} "
                "frames; use a divisor of that, or 0 for all at once"
            )
        trained = visual.backbone.get("batch_norm") == "trained" and not visual.freeze_backbone
        if chunk and trained:
            raise UserError(
                "config.model.backbone.batch_norm=trained needs the statistics of all frames; set "
                "config.model.frames_per_chunk=0, or batch_norm=frozen"
            )


_PARTS = {"visual": VisualConfig, "fusion": FusionConfig, "heads": HeadsConfig}


def _fields() -> list[dataclasses.Field]:
    """Lists the fields of `config.model`, those of the parts included."""
    return declared(ModelConfig, *_PARTS.values())
