"""What the configs of several experiments share: options of their paths, protocols, kinds of data.

A config starts as `stvh_jax.config.get_config()`; the functions here change it.
"""

from collections.abc import Iterable

from ml_collections import ConfigDict

from stvh_jax.config import Config, get_config

# What stands before RoIAlign at the paper's size, by the name that a config's path may end in.
BACKBONES = {
    # Stride 8 and stride 16 joined, 1056 channels; the 1x1 convolution makes them the printed 512.
    "inception_v3": {"name": "inception_v3", "batch_norm": "frozen", "remat": False},
    "vgg16": {"name": "vgg16", "din_compat": False, "remat": False},
    # 512 channels at 1/32 of the frame, the shape the paper prints.
    "small": {"name": "small", "features": (32, 64, 128, 256, 512)},
}
# What a config learns from, by the name that its path may end in: see `make_label_free`.
OBJECTIVES = ("supervised", "label_free")
# Which clips a config trains on, by the name that its path may end in: see `use_protocol`.
PROTOCOLS = ("published", "validated")


def read_options(name: str, options: str, *choices: Iterable[str]) -> list[str]:
    """Reads what follows the colon of a config's path, as in configs/vd.py:vgg16,validated.

    Args:
      name: of the file in `configs/`.
      options: words joined by commas, in any order; "" for none.
      *choices: lists of words, of each of which one may be given.

    Returns:
      The word of each list, its first if none is given.

    Raises:
      ValueError: a word is in no list, or two are of the same.
    """
    left, chosen = options.split(",") if options else [], []
    for words in map(tuple, choices):
        given = [word for word in left if word in words]
        if len(given) > 1:
            raise ValueError(f"configs/{name}.py:{options} has {' and '.join(given)}; choose one")
        chosen.append(given[0] if given else words[0])
        left = [word for word in left if word not in words]
    if left:
        known = ", ".join(word for words in choices for word in words)
        raise ValueError(f"configs/{name}.py has no {left[0]!r}; choose {known}")
    return chosen


def use_protocol(config: Config, protocol: str) -> None:
    """Chooses the clips of an experiment, and whether some of them choose the checkpoint.

    "published", the paper's: train and validation are trained on and searched; no clips are left to
    choose a checkpoint by, so the last one is judged. "validated": validation is held out, and the
    checkpoint that is best on it is judged; anything that is to be chosen is chosen so.
    """
    if protocol == "validated":
        config.name += "_validated"
    else:
        config.data.train_split, config.data.validation_split = "train+validation", ""


def get_published_config(name: str, options: str) -> Config:
    """Returns the config of an experiment of the paper: its size, readings and protocol.

    Args:
      name: names the runs, with the options that are not the first of `BACKBONES` and `PROTOCOLS`.
      options: a backbone and a protocol, see `read_options`.

    Raises:
      ValueError: an option is unknown, or given twice.
    """
    backbone, protocol = read_options(name, options, BACKBONES, PROTOCOLS)
    config = get_config_at_paper_size(name, backbone)
    # Eq 6 and section 4.4, from which other experiments depart.
    config.loss.action_reduction = "sum"
    config.model.action_features = "f_T"
    use_protocol(config, protocol)
    return config


def get_config_at_paper_size(name: str, backbone: str) -> Config:
    """Returns the default config with a backbone of the paper's size.

    Args:
      name: names the runs, with the backbone if it is not Inception-v3.
      backbone: one of BACKBONES.

    Raises:
      ValueError: there is no such backbone.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"configs/{name}.py has no {backbone!r}; choose {', '.join(BACKBONES)}")
    config = get_config()
    config.name = name if backbone == "inception_v3" else f"{name}_{backbone}"
    config.model.backbone = ConfigDict(BACKBONES[backbone])
    if backbone == "inception_v3":
        config.model.roi_channels = 512
    if backbone != "small":
        # Memory: at this size the activations of all frames fill several GPUs.
        config.model.frames_per_chunk = 1
        config.train.backbone_weights = f"weights/{backbone}.safetensors"
    return config


def make_collective(config: Config, name: str) -> None:
    """Turns the config of an experiment on Volleyball into one on a Collective Activity set.

    Clips are the key frame and the nine after it, and the paper has L = 4 and a constant rate.
    """
    config.data.name = name
    config.data.image_size = (480, 720)
    config.data.num_actors = config.model.num_actors = 13
    config.model.key_frame = 0
    config.model.layers = 4


def make_first_stage(config: Config) -> None:
    """Turns the config of an experiment into that of its first stage: the backbone, on key frames.

    The rate, batch and dropout are those of ARG's published code for Volleyball.
    """
    config.data.num_frames = 1
    config.model.name = "frame_classifier"
    config.model.num_frames = 1
    config.model.key_frame = 0
    config.model.embed = "fc"
    # A dense layer reads every channel by itself.
    config.model.roi_channels = 0
    config.model.frames_per_chunk = 0
    config.model.dropout = 0.3
    config.loss.action = 1.0
    config.train.batch_size = 8
    # One frame on each of two devices at a time: of 720x1280 it takes 1.2 GiB, of VGG-16 2.4.
    config.train.accumulate = 4
    config.train.evaluation_batch_size = 8


def use_one_code(config: Config, visual_bits: int) -> None:
    """Gives an experiment one code for all foci, with some visual bits.

    The paper has a code for each focus: config.model.objective=printed.
    """
    config.model.objective = "graded"
    config.model.visual_bits = visual_bits


def make_small(config: Config) -> None:
    """Turns the config of an experiment into that of a small model with one code, for one core."""
    config.devices = 1
    config.model.dropout = 0.1
    config.loss.contrastive = 0.25
    config.loss.same_class_mask = True
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.3
    config.optimizer.clip_norm = 1.0
    config.train.checkpoint_every_steps = 0
    use_one_code(config, visual_bits=32)


def make_label_free(config: Config) -> None:
    """Turns the config of an experiment from learning labels to learning without any.

    Which views there are depends on what its model reads: the last of the changes to a config.
    """
    config.name += "_label_free"
    config.objective = "label_free"
    config.train.select = "views_found"
    for name in ("action", "contrastive", "supervised_contrastive"):
        config.loss[name] = 0.0
    # Views are compared less their mean over the batch: these keep it at zero, where signs change.
    config.loss.bit_balance, config.loss.bit_independence = 1.0, 0.5
    config.train.box_jitter = config.train.box_noise = config.train.leave_out = 0.0
    views = config.label_free
    source, embed = config.model.source, config.model.embed
    if source == "features" or (source == "frames" and embed != "boxes"):
        views.zoom = views.shift = 0.0  # boxes stay where the pixels are
        views.colour = 0.1 * (source == "frames")
    else:
        views.squeeze, views.tilt, views.person_shift = 0.1, 0.5, 0.1
    if config.data.num_frames > 1:
        views.moment, views.speed = 1.0, 0.2


def make_label_free_boxes(config: Config, *, batch_size: int, epochs: int) -> None:
    """Turns the config of a study from boxes into one without labels; see `make_label_free`.

    A smaller model than for labels finds as much, in a fraction of the time.
    """
    make_label_free(config)
    config.model.features = 64
    config.optimizer.learning_rate = 1e-3
    config.train.average = 0.99
    config.train.batch_size = config.train.evaluation_batch_size = batch_size
    config.train.epochs, config.train.evaluate_every_epochs = epochs, epochs // 12


def make_boxes_only(config: Config) -> None:
    """Turns the config of an experiment into that of a study from boxes alone, on one core.

    Departures from the printed form were chosen on Volleyball's validation videos:
    docs/studies.md.
    """
    make_small(config)
    config.data.flip = True
    config.model.source = "boxes"
    config.model.features = 128
    config.model.product = "hadamard"
    config.loss.action = 4.0
    config.optimizer.learning_rate = 5e-4
    config.optimizer.warmup_epochs = 3.0
    config.train.epochs = 60
    config.train.batch_size = 32
    config.train.box_jitter = 0.05
    config.train.evaluation_batch_size = 256
    config.train.evaluate_every_epochs = 5


def make_symmetric_boxes(config: Config) -> None:
    """Gives a model of boxes both orientations, more of each box, and more regularisation.

    Chosen on Volleyball's validation videos, after `make_boxes_only`: docs/studies.md.
    """
    config.model.detailed_boxes = True
    config.model.hash_head = "mean_and_maximum"
    config.model.symmetric = True
    config.loss.action = 2.0
    config.loss.label_smoothing = 0.1
    config.loss.supervised_contrastive = 0.2
    config.loss.supervised_temperature = 0.2
    config.optimizer.learning_rate = 1e-3
    config.train.epochs = 120
    config.train.batch_size = 128
    config.train.average = 0.999
    config.train.box_noise = 0.02
    config.train.leave_out = 0.1
    config.train.evaluate_every_epochs = 10
