"""What every experiment shares: each field with its meaning; `configs/<name>.py` change some.

Override any field on the command line, e.g. `--config.model.bits=64`.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

from stvh_jax.models.config import ModelConfig

# A `ConfigDict` of the fields below, or a part of it. Any, for no type checker can know the fields.
Config = Any

# Fields that the configs of older runs lack, with what every run was before they were added.
ADDED_FIELDS = {f"model.{name}": value for name, value in ModelConfig.added().items()}


def get_config() -> Config:
    """Returns the default config."""
    config: Config = ConfigDict()
    # Names the run's folder, with the model, bits and seed: runs/<name>-<model>-<bits>-<seed>.
    config.name = "base"
    config.seed = 0
    # Devices that share a batch (the paper's machine had two); 0: all there are. Fewer are used
    # where fewer exist; a CPU stands for any number.
    config.devices = 2
    config.data = _data()
    config.model = _model()
    config.loss = _loss()
    config.optimizer = _optimizer()
    config.train = _train()
    return config


def _data() -> Config:
    """Which clips are read, and how."""
    data: Config = ConfigDict()
    data.name = "volleyball"
    # "frames", or "boxes_only" for a set prepared without pixels; then every choice that is not
    # the default, as in "frames-five" (data/variants.py).
    data.variant = "frames"
    # The folder of prepared data sets (`python -m data prepare`).
    data.dir = "datasets"
    # Height and width that frames are resized to.
    data.image_size = (720, 1280)
    # T: the frames around the key frame, as evenly as those stored allow; 1 is the key frame alone.
    data.num_frames = 10
    # N: the most actors of a clip; clips with fewer are masked.
    data.num_actors = 12
    # Everybody keeps the annotated box of the key frame in all T frames, whatever the tracks say.
    data.still_boxes = False
    # Horizontal flip of every second training clip, left and right classes swapped with it.
    data.flip = False
    data.train_split = "train"
    # Chooses the best checkpoint; "" trains without one.
    data.validation_split = "validation"
    # The clips that evaluate.py takes as queries; the base is `train_split`.
    data.test_split = "test"
    return data


def _model() -> Config:
    """The model; each field and its meaning: stvh_jax/models/config.py."""
    fields = ModelConfig.defaults()
    # One length of codes or several: a value of another type may take the place of the default.
    fields["bits"] = config_dict.FieldReference(fields["bits"], field_type=object)
    return ConfigDict(fields)


def _loss() -> Config:
    """What each loss weighs."""
    loss: Config = ConfigDict()
    # Weights beside the activity's: 0.5 in L_cls, lambda_1 = mu_1, lambda_2 = mu_2, mu_3.
    loss.action = 0.5
    loss.quantisation = 0.1
    loss.contrastive = 0.5
    loss.reconstruction = 0.01
    # Divides the cosine in Eq 8; 1 is the printed form.
    loss.temperature = 1.0
    # Leaves other clips of the same activity out of Eq 8's sum.
    loss.same_class_mask = False
    # A weight for every action class, in the order of the data's names; () for ones.
    loss.action_class_weights = ()
    return loss


def _optimizer() -> Config:
    """Adam and its learning rate."""
    optimizer: Config = ConfigDict()
    optimizer.learning_rate = 1e-5
    # "piecewise": `rates` after `boundaries_epochs`; "cosine": after `warmup_epochs`, to zero.
    optimizer.schedule = "piecewise"
    optimizer.boundaries_epochs = ()
    optimizer.rates = ()
    optimizer.warmup_epochs = 0.0
    # Decoupled, on kernels; 0 is plain Adam.
    optimizer.weight_decay = 0.0
    # Bound on the gradient's norm; 0 for none.
    optimizer.clip_norm = 0.0
    return optimizer


def _train() -> Config:
    """How long, in which batches, and which checkpoint is chosen."""
    train: Config = ConfigDict()
    train.epochs = 60
    # Clips a step over all devices.
    train.batch_size = 2
    # Parts that a batch is computed in, one after the other, to need less memory; Eq 7 and 8 then
    # compare the clips of one part at a time.
    train.accumulate = 1
    # What the backbone starts with: a file of ImageNet weights, or the folder of a run; "": from
    # scratch.
    train.backbone_weights = ""
    # A folder that keeps a frozen backbone's features of every clip; "" computes them each time.
    train.feature_cache = ""
    train.evaluation_batch_size = 2
    # Random zoom and shift of each training clip's boxes (standard deviation, in frames); for
    # models of boxes alone.
    train.box_jitter = 0.0
    train.log_every_steps = 50
    # Validation, and a checkpoint with it.
    train.evaluate_every_epochs = 1
    # More checkpoints in between; 0 for none.
    train.checkpoint_every_steps = 500
    # The validation metric that the best checkpoint is chosen by.
    train.select = "activity_accuracy"
    return train


def get_config_at_paper_size(name: str, backbone: str) -> ConfigDict:
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


def make_first_stage(config: Config, name: str) -> None:
    """Turns the config of an experiment into that of its first stage: the backbone, on key frames.

    The rate, batch and dropout are those of ARG's published code for Volleyball.
    """
    backbone = config.model.backbone.name
    config.name = name if backbone == "inception_v3" else f"{name}_{backbone}"
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
    config.optimizer.boundaries_epochs = ()
    config.optimizer.rates = ()
    config.train.batch_size = 8
    # One frame on each of two devices at a time: of 720x1280 it takes 1.2 GiB, of VGG-16 2.4.
    config.train.accumulate = 4
    config.train.evaluation_batch_size = 8


def make_boxes_only(config: Config) -> None:
    """Turns the config of an experiment into that of a study from boxes alone, on one core.

    Departures from the printed form were chosen on Volleyball's validation videos:
    docs/studies.md.
    """
    config.devices = 1
    config.data.flip = True
    config.model.source = "boxes"
    config.model.features = 128
    config.model.dropout = 0.1
    config.model.product = "hadamard"
    config.loss.action = 4.0
    config.loss.same_class_mask = True
    config.optimizer.learning_rate = 5e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 3.0
    config.optimizer.weight_decay = 0.3
    config.optimizer.clip_norm = 1.0
    config.train.batch_size = 32
    config.train.box_jitter = 0.05
    config.train.evaluation_batch_size = 256
    config.train.evaluate_every_epochs = 5
    config.train.checkpoint_every_steps = 0
