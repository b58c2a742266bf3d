"""What every experiment shares: each field with its meaning, its default and what it may hold.

`configs/<name>.py` change some of them; the command line overrides any, e.g.
`--config.model.bits=64`. `check_fields` checks a config wherever it is from.
"""

import dataclasses
from typing import Any, ClassVar

from ml_collections import ConfigDict, config_dict

from stvh_jax.errors import UserError, shown
from stvh_jax.fields import (
    Checked,
    Number,
    check_whole,
    choice,
    folder_name,
    mapping,
    number,
    rising,
    setting,
    several,
    share,
    switch,
    text,
    whole,
)
from stvh_jax.models.config import ModelConfig

# A `ConfigDict` of the fields below, or a part of it. Any, for no type checker can know the fields.
Config = Any

# The most clips in a batch, and the most classes of activities or actions.
MOST_CLIPS = 1 << 16
MOST_CLASSES = 1 << 12
# So many steps or epochs that nothing is done before them, for who wants it never.
MOST_STEPS = 10**12

# What the config of a run has beside the fields of an experiment's.
OF_RUNS = ("activity_names", "action_names", "backbone_weights", "started_from")


def _image_size(default: tuple[int, int]) -> Any:
    """Declares a field that holds a height and a width in pixels."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, tuple) or len(value) != 2:
            raise UserError(f"{name} is {shown(value)}; give height and width, e.g. (720, 1280)")
        for side in value:
            check_whole(f"a side of {name}", side, low=1, high=8192)

    return setting(default, check)


def _splits(default: str, *, empty: bool = False, **metadata) -> Any:
    """Declares a field that names a split, or several joined by a plus sign."""

    def check(name: str, value: Any) -> None:
        cure = "give a split, or several as in train+validation" + (", or none" if empty else "")
        if not isinstance(value, str) or not value.isprintable() or len(value) > 1000:
            raise UserError(f"{name} is {shown(value)}; {cure}")
        parts = value.split("+")
        if not all(parts) and (value or not empty):
            raise UserError(f"{name} is {shown(value)}; {cure}")
        if len(set(parts)) < len(parts):
            raise UserError(f"{name} is {shown(value)}; name each split once")

    return setting(default, check, **metadata)


@dataclasses.dataclass(frozen=True)
class DataConfig(Checked):
    """Which clips are read, and how; a data set of your own may have further fields."""

    path: ClassVar[str] = "config.data"
    extensible: ClassVar[bool] = True

    name: str = text("volleyball", empty=False)
    # "frames", or "boxes_only" for a set prepared without pixels; then every choice that is not
    # the default, as in "frames-five" (data/variants.py).
    variant: str = text("frames", empty=False)
    # The folder of prepared data sets (`python -m data prepare`).
    dir: str = text("datasets")
    # Height and width that frames are resized to.
    image_size: tuple[int, int] = _image_size((720, 1280))
    # T: the frames around the key frame, as evenly as those stored allow; 1 is the key frame alone.
    num_frames: int = whole(10, low=1, high=1024)
    # N: the most actors of a clip; clips with fewer are masked.
    num_actors: int = whole(12, low=1, high=1024)
    # Everybody keeps the annotated box of the key frame in all T frames, whatever the tracks say.
    still_boxes: bool = switch(False)
    # Horizontal flip of every second training clip, left and right classes swapped with it.
    flip: bool = switch(False)
    train_split: str = _splits("train")
    # Of each activity only so many clips are trained on, drawn by the seed; 0 for all. An epoch
    # stays as long.
    labels_per_activity: int = whole(0, low=0, high=10**6, added=True)
    # Chooses the best checkpoint; "" trains without one.
    validation_split: str = _splits("validation", empty=True)
    # The clips that evaluate.py takes as queries; the base is `train_split`.
    test_split: str = _splits("test", empty=True)
    # Clips without labels that the visual bits of a graded code are fitted to, with `train_split`.
    unlabelled_split: str = _splits("", empty=True, added=True)


@dataclasses.dataclass(frozen=True)
class LossConfig(Checked):
    """What each loss weighs; a loss of your own may have its fields beside these."""

    path: ClassVar[str] = "config.loss"
    extensible: ClassVar[bool] = True

    # Weights beside the activity's: 0.5 in L_cls, lambda_1 = mu_1, lambda_2 = mu_2, mu_3.
    action: Number = number(0.5, high=1e6)
    # L_action of a clip (Eq 6): the "mean" over its actors, or their "sum" as printed, which weighs
    # N times as much in a clip of N actors.
    action_reduction: str = choice("mean", "sum", added=True)
    quantisation: Number = number(0.1, high=1e6)
    contrastive: Number = number(0.5, high=1e6)
    reconstruction: Number = number(0.01, high=1e6)
    # Divides the cosine in Eq 8; 1 is the printed form.
    temperature: Number = number(1.0, high=1e6, positive=True)
    # Leaves other clips of the same activity out of Eq 8's sum.
    same_class_mask: bool = switch(False)
    # The share of an activity's label that is spread over all activities alike.
    label_smoothing: Number = share(0.0, added=True)
    # A weight for every action class, in the order of the data's names; () for ones.
    action_class_weights: tuple[Number, ...] = several(high=1e6)
    # Weights of other methods' objectives (stvh_jax/training/hashing_losses.py), 0 for none: DPSH,
    # CSQ, OrthoHash, SupCon, and the balance of each bit over a batch.
    pairwise: Number = number(0.0, high=1e6, added=True)
    centre: Number = number(0.0, high=1e6, added=True)
    orthogonal: Number = number(0.0, high=1e6, added=True)
    supervised_contrastive: Number = number(0.0, high=1e6, added=True)
    bit_balance: Number = number(0.0, high=1e6, added=True)
    # The correlation of bits over a batch, which label-free learning needs with the balance.
    bit_independence: Number = number(0.0, high=1e6, added=True)
    # DPSH's eta and CSQ's lambda: what the distance of h from its signs weighs within them.
    pairwise_quantisation: Number = number(0.1, high=1e6, added=True)
    centre_quantisation: Number = number(0.1, high=1e6, added=True)
    # OrthoHash: what the cosine to the own class must be greater by, and what multiplies cosines.
    orthogonal_margin: Number = number(0.2, high=2, added=True)
    orthogonal_scale: Number = number(8.0, high=1e6, positive=True, added=True)
    # SupCon: divides the cosine.
    supervised_temperature: Number = number(0.1, high=1e6, positive=True, added=True)


@dataclasses.dataclass(frozen=True)
class LabelFreeConfig(Checked):
    """What is learned from clips without labels, with `config.objective="label_free"`.

    Two views are drawn of every clip, and their codes are drawn together (training/label_free.py).
    What a view changes is what a code is not to tell; a strength of 0 leaves it as it is. See
    training/views.py for what each of them does.
    """

    path: ClassVar[str] = "config.label_free"

    # What draws the two views of a clip together and keeps clips apart.
    contrast: str = choice("info_nce", "vicreg", "barlow_twins", added=True)
    contrast_weight: Number = number(1.0, high=1e6, added=True)
    # Of InfoNCE: divides the cosine.
    temperature: Number = number(0.2, high=1e6, positive=True, added=True)
    # Clips whose people are arranged alike are to have codes that are alike: what this weighs, how
    # far apart two people may stand and still be alike, in heights of a person, how few clips count
    # as alike, and what divides the cosine of codes (training/arrangements.py).
    arrangement_weight: Number = number(6.0, high=1e6, added=True)
    arrangement_reach: Number = number(1.5, high=1e6, positive=True, added=True)
    arrangement_sharpness: Number = number(0.035, high=1e6, positive=True, added=True)
    arrangement_temperature: Number = number(0.1, high=1e6, positive=True, added=True)
    # People are read from the codes of views: how large they are and how they move, who was left
    # out, and where they go in the last frames, which views do not show (training/pretexts.py).
    attributes_weight: Number = number(0.0, high=1e6, added=True)
    masked_people_weight: Number = number(0.0, high=1e6, added=True)
    next_positions_weight: Number = number(0.0, high=1e6, added=True)
    next_frames: int = whole(0, low=0, high=1024, added=True)
    # The camera: its zoom and shift, how wide the picture is for its height, and its tilt.
    zoom: Number = number(0.15, high=10, added=True)
    shift: Number = number(0.1, high=10, added=True)
    squeeze: Number = number(0.0, high=10, added=True)
    tilt: Number = number(0.0, high=10, added=True)
    # The people: where each stands, how large each is, the sides of each box, the share left out.
    person_shift: Number = number(0.0, high=10, added=True)
    person_size: Number = number(0.0, high=10, added=True)
    box_noise: Number = number(0.03, high=10, added=True)
    leave_out: Number = share(0.2, added=True)
    # The time: another moment of the clip, in frames, and another speed.
    moment: Number = number(0.0, high=1000, added=True)
    speed: Number = number(0.0, high=10, added=True)
    # The pixels: other colours.
    colour: Number = number(0.0, high=10, added=True)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Checked):
    """Adam and its learning rate."""

    path: ClassVar[str] = "config.optimizer"

    learning_rate: Number = number(1e-5, high=1000)
    # "piecewise": `rates` after `boundaries_epochs`; "cosine": after `warmup_epochs`, to zero.
    schedule: str = choice("piecewise", "cosine")
    boundaries_epochs: tuple[Number, ...] = rising(high=1e6)
    rates: tuple[Number, ...] = several(high=1000)
    warmup_epochs: Number = number(0.0, high=1e6)
    # Decoupled, on kernels; 0 is plain Adam.
    weight_decay: Number = number(0.0, high=1000)
    # Bound on the gradient's norm; 0 for none.
    clip_norm: Number = number(0.0, high=1e6)

    def __post_init__(self):
        super().__post_init__()
        if len(self.boundaries_epochs) != len(self.rates):
            raise UserError(
                f"config.optimizer has {len(self.boundaries_epochs)} boundaries_epochs and "
                f"{len(self.rates)} rates; give one rate for each boundary"
            )


@dataclasses.dataclass(frozen=True)
class TrainConfig(Checked):
    """How long, in which batches, and which checkpoint is chosen."""

    path: ClassVar[str] = "config.train"

    epochs: int = whole(60, low=1, high=10**6)
    # Clips a step over all devices.
    batch_size: int = whole(2, low=1, high=MOST_CLIPS)
    # Parts that a batch is computed in, one after the other, to need less memory; Eq 7 and 8 then
    # compare the clips of one part at a time.
    accumulate: int = whole(1, low=1, high=MOST_CLIPS)
    # What the backbone starts with: a file of ImageNet weights, or the folder of a run; "": from
    # scratch.
    backbone_weights: str = text("")
    # The run that a model starts as: its folder, its .zip or a URL of one (training/starting.py).
    start_from: str = text("", added=True)
    # A folder that keeps a frozen backbone's features of every clip; "" computes them each time.
    feature_cache: str = text("")
    evaluation_batch_size: int = whole(2, low=1, high=MOST_CLIPS)
    # Random zoom and shift of each training clip's boxes (standard deviation, in frames); for
    # models of boxes alone.
    box_jitter: Number = number(0.0, high=10)
    # Random shifts of the sides of each training box (standard deviation, in heights of the box),
    # and the share of people who are left out of a training clip; for models of boxes alone.
    box_noise: Number = number(0.0, high=10, added=True)
    leave_out: Number = share(0.0, added=True)
    # The decay of a moving average of the parameters, which is then what is validated, saved and
    # used; less in the first steps (`training.step.average_decay`); 0 for none.
    average: Number = share(0.0, added=True)
    log_every_steps: int = whole(50, low=1, high=MOST_STEPS)
    # Validation, and a checkpoint with it.
    evaluate_every_epochs: int = whole(1, low=1, high=MOST_STEPS)
    # More checkpoints in between; 0 for none.
    checkpoint_every_steps: int = whole(500, low=0, high=MOST_STEPS)
    # The validation metric that the best checkpoint is chosen by; higher is better. "views_found"
    # needs no labels: the share of clips of which one view's code is nearest to the other's.
    select: str = choice("activity_accuracy", "action_accuracy", "views_found")


@dataclasses.dataclass(frozen=True)
class TopConfig(Checked):
    """What stands beside the parts."""

    # Names the run's folder, with the model, bits and seed: runs/<name>-<model>-<bits>-<seed>.
    name: str = folder_name("base")
    # What is learned from: the "supervised" classes of activities and actions, or "label_free", the
    # clips alone: no label enters the training or the choice of a checkpoint.
    objective: str = choice("supervised", "label_free", added=True)
    # A generator of random numbers takes 32 bits.
    seed: int = whole(0, low=0, high=2**32 - 1)
    # Devices that share a batch (the paper's machine had two); 0: all there are. Fewer are used
    # where fewer exist; a CPU stands for any number.
    devices: int = whole(2, low=0, high=1024)


PARTS: dict[str, type[Checked]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "loss": LossConfig,
    "label_free": LabelFreeConfig,
    "optimizer": OptimizerConfig,
    "train": TrainConfig,
}
# Fields that the configs of older runs lack, with what every run was before they were added.
ADDED_FIELDS = TopConfig.added() | {
    f"{name}.{field}": value
    for name, part in PARTS.items()
    for field, value in part.added().items()
}


def get_config() -> Config:
    """Returns the default config."""
    parts = {name: part.defaults() for name, part in PARTS.items()}
    # One length of codes or several: a value of another type may take the place of the default.
    bits = config_dict.FieldReference(parts["model"]["bits"], field_type=object)
    parts["model"]["bits"] = bits
    return ConfigDict(TopConfig.defaults() | parts)


def check_fields(config: Any, *, stored: bool = False) -> None:
    """Checks every field of a config by itself, whether it is new or of a run.

    Args:
      config: a `ConfigDict`, or the same as nested dicts. That of a run has the names of the
        classes beside the fields, and maybe where the backbone's weights are from.
      stored: whether it is of a run: it has a folder, which its name does not choose any more.

    Raises:
      UserError: a field is unknown, absent, or has a value that it cannot have.
    """
    values = mapping("config", config)
    top = {name: value for name, value in values.items() if name not in (*PARTS, *OF_RUNS)}
    if stored and isinstance(top.get("name"), str):
        top["name"] = TopConfig.name
    TopConfig.of(top)
    for name, part in PARTS.items():
        # A part that was added later has only such fields.
        if name not in values and part.added() != part.defaults():
            raise UserError(f"config has no field {name!r}: it is from another version of stvh_jax")
        part.of(values.get(name, {}))


def check_run(run_config: Any) -> None:
    """Checks the config that a run has stored; `check_fields` does the rest.

    Raises:
      UserError: as `check_fields`; or the names of the classes are not lists of short texts.
    """
    check_fields(run_config, stored=True)
    for name in ("activity_names", "action_names"):
        names = run_config.get(name)
        fits = isinstance(names, (list, tuple)) and 0 < len(names) <= MOST_CLASSES
        if not fits or not all(_is_name(one) for one in names):
            raise UserError(f"config.{name} is {shown(names)}; it lists the names of classes")
        if len(set(names)) < len(names):
            raise UserError(f"config.{name} is {shown(names)}; each class has one name")
    options = mapping("config.backbone_weights", run_config.get("backbone_weights", {}))
    mapping("config.backbone_weights.options", options.get("options", {}))
    mapping("config.started_from", run_config.get("started_from", {}))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
