"""Finds what could not be trained before anything is compiled."""

from stvh_jax.config import Config, check_fields
from stvh_jax.dataset import Dataset
from stvh_jax.errors import UserError
from stvh_jax.fields import check_number
from stvh_jax.models.config import reads_boxes
from stvh_jax.training import pretrained
from stvh_jax.training.losses import LOSSES
from stvh_jax.unknown import NO_ACTIVITIES

# What the clips of prepared sets may have, by the beginning of the variant's name.
_CONTENTS = ("frames", "boxes_only", "boxes_and_appearance")


def check_config(config: Config, dataset: Dataset, *, devices: int) -> None:
    """Checks each field of a config, and that its parts fit each other, the data and the devices.

    Raises:
      UserError: names the field and what to do.
    """
    check_fields(config)
    _check_batches(config, devices=devices)
    _check_clips(config, dataset)
    _check_source(config)
    _check_appearance(config, dataset)
    _check_backbone(config)
    _check_losses(config, dataset)
    _check_labelled(config, dataset)
    _check_label_free(config)
    _check_selection(config)
    _check_splits(config, dataset)


def _check_batches(config: Config, *, devices: int) -> None:
    train = config.train
    for name in ("batch_size", "evaluation_batch_size"):
        if train[name] % devices:
            raise UserError(
                f"config.train.{name}={train[name]} does not divide over {devices} devices; "
                "change it or config.devices"
            )
    if train.batch_size % (devices * train.accumulate):
        raise UserError(
            f"config.train.batch_size={train.batch_size} does not divide into config.train."
            f"accumulate={train.accumulate} parts over {devices} devices; change one of them"
        )


def _check_clips(config: Config, dataset: Dataset) -> None:
    data, model = config.data, config.model
    for name in ("num_frames", "num_actors"):
        if model[name] != data[name]:
            raise UserError(
                f"config.model.{name} is {model[name]}, but config.data.{name} is {data[name]}; "
                "give both the same value"
            )
    if model.key_frame != dataset.key_frame:
        raise UserError(
            f"config.model.key_frame is {model.key_frame}, but the key frame of these "
            f"{data.num_frames} frames is {dataset.key_frame}; set it to that"
        )


def _check_source(config: Config) -> None:
    """Checks that the clips have what the model reads."""
    train, data, model = config.train, config.data, config.model
    content = data.variant.partition("-")[0]
    if model.source == "features" and content in _CONTENTS:
        raise UserError(
            "config.model.source=features needs clips with actor features; config.data.variant="
            f"{data.variant} has none; use source=frames or source=boxes"
        )
    if model.source == "frames" and content in ("boxes_only", "boxes_and_appearance"):
        raise UserError(
            f"config.model.source=frames needs pixels, but config.data.variant={data.variant} has "
            "none; use a variant with frames, or source=boxes"
        )
    if data.still_boxes and model.source == "features":
        raise UserError(
            "config.data.still_boxes changes boxes, but not the features made with them; set it to "
            "False for config.model.source=features"
        )
    for name in ("box_jitter", "box_noise", "leave_out"):
        if train[name] and not reads_boxes(model.source, model.embed):
            raise UserError(
                f"config.train.{name} changes boxes, but not pixels; set it to 0 for "
                f"config.model.source={model.source}"
            )


def _check_appearance(config: Config, dataset: Dataset) -> None:
    """Checks that the clips carry the appearance that the model reads, as far as is known."""
    model = config.model
    if model.source != "boxes_and_appearance":
        return
    channels = getattr(dataset, "appearance_channels", model.appearance_channels)
    if channels is None:
        raise UserError(
            "config.model.source=boxes_and_appearance needs clips with appearance; config.data."
            f"variant={config.data.variant} has none; use variant boxes_and_appearance, or "
            "source=boxes"
        )
    if channels != model.appearance_channels:
        raise UserError(
            f"config.model.appearance_channels is {model.appearance_channels}, but the appearance "
            f"of these clips has {channels}; set it to that"
        )


def _check_backbone(config: Config) -> None:
    train, model = config.train, config.model
    if train.backbone_weights and train.get("start_from"):
        raise UserError(
            "config.train.start_from brings a backbone; leave config.train.backbone_weights empty"
        )
    if train.backbone_weights and model.source != "frames":
        raise UserError(
            "config.train.backbone_weights needs a backbone, but config.model.source="
            f"{model.source} has none; leave backbone_weights empty or use source=frames"
        )
    if (
        model.freeze_backbone
        and model.backbone.name in pretrained.SOURCES
        and not (train.backbone_weights or train.get("start_from"))
    ):
        raise UserError(
            "config.model.freeze_backbone=True would keep the random initial weights of "
            f"{model.backbone.name}; set config.train.backbone_weights"
        )
    if train.feature_cache and (model.source != "frames" or not model.freeze_backbone):
        raise UserError(
            "config.train.feature_cache stores the features that a frozen backbone makes of "
            "frames; set config.model.freeze_backbone=True and source=frames, or leave "
            "feature_cache empty"
        )
    if train.feature_cache and model.name == "global_hash":
        raise UserError(
            "config.train.feature_cache stores features of actors, but config.model.name="
            "global_hash reads whole frames; leave feature_cache empty"
        )


def _check_losses(config: Config, dataset: Dataset) -> None:
    train, model = config.train, config.model
    for name in LOSSES.keys() & config.loss.keys():  # one of the user's own, too
        check_number(f"config.loss.{name}", config.loss[name], high=1e6)
    weights = config.loss.action_class_weights
    if len(weights) not in (0, len(dataset.action_names)):
        raise UserError(
            f"config.loss.action_class_weights has {len(weights)} numbers; give "
            f"{len(dataset.action_names)}, one for each of {', '.join(dataset.action_names)}"
        )
    if (
        train.accumulate > 1
        and train.batch_size == train.accumulate
        and config.loss.contrastive
        and model.name != "frame_classifier"
    ):
        raise UserError(
            f"with config.train.accumulate={train.accumulate} each part of a batch is one clip, "
            "but Eq 8 compares several; raise config.train.batch_size or set "
            "config.loss.contrastive=0"
        )


def _check_labelled(config: Config, dataset: Dataset) -> None:
    """Checks that there is an activity to learn, where labels are learned from."""
    learned = config.get("objective") != "label_free"
    if learned and tuple(dataset.activity_names) == NO_ACTIVITIES:
        raise UserError(
            f"the clips of {config.data.name} have no labels, which config.objective=supervised "
            "learns; train with --config=configs/own_label_free.py"
        )


def _check_label_free(config: Config) -> None:
    """Checks that nothing needs labels where none are learned from."""
    if config.get("objective") != "label_free":
        return
    train, model = config.train, config.model
    if config.data.get("labels_per_activity"):
        raise UserError(
            "config.data.labels_per_activity chooses clips by their labels, and config.objective="
            "label_free reads none; set it to 0"
        )
    for name, loss in LOSSES.items():
        if loss.needs_labels and config.loss.get(name, 0):
            raise UserError(
                f"config.loss.{name} needs labels, and config.objective=label_free has none; set "
                "it to 0"
            )
    if model.name == "frame_classifier":
        raise UserError(
            "config.objective=label_free makes codes, and config.model.name=frame_classifier has "
            "none; choose another model"
        )
    for name in ("box_jitter", "box_noise", "leave_out"):
        if train[name]:
            raise UserError(
                f"config.train.{name} is for learning from labels; set it to 0, and the views of "
                "config.label_free in its place"
            )
    for name in ("zoom", "shift", "squeeze", "tilt", "person_shift", "person_size"):
        if config.label_free[name] and not reads_boxes(model.source, model.embed):
            raise UserError(
                f"config.label_free.{name} changes boxes, but not pixels; set it to 0 for "
                f"config.model.source={model.source}"
            )
    _check_pretexts(config)
    if config.label_free.colour and (
        model.source != "frames" or reads_boxes(model.source, model.embed)
    ):
        raise UserError(
            "config.label_free.colour changes pixels, and with config.model.source="
            f"{model.source} and embed={model.embed} none are learned from; set it to 0"
        )
    if train.batch_size == train.accumulate:
        raise UserError(
            f"with config.train.accumulate={train.accumulate} each part of a batch is one clip, "
            "but label-free learning compares several; raise config.train.batch_size"
        )


def _check_pretexts(config: Config) -> None:
    """Checks that there is something to read where people are read from codes."""
    views, frames = config.label_free, config.data.num_frames
    if views.masked_people_weight and not views.leave_out:
        raise UserError(
            "config.label_free.masked_people_weight is for people whom a view leaves out; raise "
            "config.label_free.leave_out"
        )
    if views.next_frames and views.next_frames >= frames:
        raise UserError(
            f"config.label_free.next_frames={views.next_frames} leaves a view nothing of "
            f"config.data.num_frames={frames} frames; lower it"
        )
    if views.next_positions_weight and not views.next_frames:
        raise UserError(
            "config.label_free.next_positions_weight is for frames that a view does not show; set "
            "config.label_free.next_frames, and have several frames"
        )


def _check_selection(config: Config) -> None:
    label_free = config.get("objective") == "label_free"
    if label_free != (config.train.select == "views_found"):
        cure = "views_found" if label_free else "activity_accuracy"
        raise UserError(
            f"config.train.select={config.train.select} is not measured with config.objective="
            f"{config.get('objective')}; set it to {cure}"
        )
    if config.model.name == "global_hash" and config.train.select == "action_accuracy":
        raise UserError(
            "config.model.name=global_hash has no actions; set config.train.select="
            "activity_accuracy"
        )


def _check_splits(config: Config, dataset: Dataset) -> None:
    data, batch_size = config.data, config.train.batch_size
    if data.validation_split:
        dataset.num_clips(data.validation_split)
    if data.get("unlabelled_split"):
        dataset.num_clips(data.unlabelled_split)
    if dataset.num_clips(data.train_split) < batch_size:
        raise UserError(
            f"split {data.train_split} has {dataset.num_clips(data.train_split)} clips, fewer than "
            f"config.train.batch_size={batch_size}; lower the batch size"
        )
