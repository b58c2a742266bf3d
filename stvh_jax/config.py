"""What every experiment shares: each field with its meaning; `configs/<name>.py` change some.

Override any field on the command line, e.g. `--config.model.bits=64`.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

# A `ConfigDict` of the fields below, or a part of it. Any, for no type checker can know the fields.
Config = Any


def get_config() -> Config:
    """Returns the default config."""
    config: Config = ConfigDict()
    # Names the run's folder, with the model, bits and seed: runs/<name>-<model>-<bits>-<seed>.
    config.name = "base"
    config.seed = 0
    # Devices that share a batch (the paper's machine had two); 0: all there are. Fewer are used
    # where fewer exist; a CPU stands for any number.
    config.devices = 2

    data: Config = ConfigDict()
    config.data = data
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

    model: Config = ConfigDict()
    config.model = model
    # "stvh": one code, for the activity; "mstvh": a code for every focus 0..layers;
    # "global_hash": one code of whole frames, without actors, to compare with; "frame_classifier":
    # no code, to train a backbone first.
    model.name = "mstvh"
    # K, the length of a code, a multiple of 8; several, as (16, 32, 64, 128), train one code whose
    # first 16, 32 and 64 bits are codes themselves.
    model.bits = config_dict.FieldReference(128, field_type=object)
    # L, the number of interleaving layers.
    model.layers = 3
    # D, the size of an actor feature.
    model.features = 1024
    # Where actor features come from: "frames", "boxes" alone, or precomputed "features".
    model.source = "frames"
    # T, N and the key frame's place among the T, as the data has them.
    model.num_frames = 10
    model.num_actors = 12
    model.key_frame = 5
    # The backbone's name and options (stvh_jax/backbones).
    model.backbone = ConfigDict({"name": "small"})
    # Whether the backbone keeps the weights it starts with; its features can then be cached.
    model.freeze_backbone = False
    # Frames of each clip that go through the backbone at a time; 0: all. Fewer need far less
    # memory; the backward pass computes them again.
    model.frames_per_chunk = 0
    # Side of the square that RoIAlign samples a box into, and its samples a bin and axis.
    model.roi_size = 5
    model.sampling_ratio = 2
    # What RoIAlign reads outside the map: "clamp" as torchvision, "zero" as crop_and_resize.
    model.roi_border = "clamp"
    # C of f_roi (d_v), by a 1x1 convolution after RoIAlign; 0: what the backbone gives.
    model.roi_channels = 0
    # f_roi -> f_v: "conv", 3D then 2D convolutions; "fc", one dense layer.
    model.embed = "conv"
    # Joins f_roi, or what is known of a box, with its deviation from the actor's mean over time
    # before the embedding: not in the paper, but what moves is learned several times sooner.
    model.temporal_contrast = False
    # What focus 0 shows: "f_roi", what the actors look like, or "f_v", the features made from it.
    model.visual_code = "f_roi"
    # Eq 2: "normalised" Euclidean distance, or "literal" as printed.
    model.distance = "normalised"
    # Where position joins appearance: in the "graphs" of the paper's layers, or, for comparison, in
    # standard transformer blocks: added "before" or "after" every one (M-STVH^BD and M-STVH^ED),
    # or once before the first, by "add" or "concat"; residual to fusion below are not theirs.
    model.position = "graphs"
    # Eq 3 and 10: pre-LN residuals; False is the printed form.
    model.residual = True
    # Eq 4: AT_v x AT_p as a "matrix" product, or "hadamard" with renormalised rows.
    model.product = "matrix"
    # The future in G_T: "zero" as printed (it still weighs in the softmax), or "neg_inf".
    model.causal = "zero"
    # Whether W, on the graph in AT_p, is learned.
    model.graph_weight = True
    # Eq 11: "nested" G-MFAT(O-MFAT(f)), "sum" or "concat" of the two.
    model.fusion = "nested"
    # Hidden size of the feed-forward networks, in D.
    model.ffn_multiplier = 2
    model.dropout = 0.0
    # Compute type; parameters, softmaxes, hash heads and losses stay in float32.
    model.dtype = "float32"

    loss: Config = ConfigDict()
    config.loss = loss
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

    optimizer: Config = ConfigDict()
    config.optimizer = optimizer
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

    train: Config = ConfigDict()
    config.train = train
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
    return config


# What stands before RoIAlign at the paper's size, by the name that a config's path may end in.
BACKBONES = {
    # Stride 8 and stride 16 joined, 1056 channels; the 1x1 convolution makes them the printed 512.
    "inception_v3": {"name": "inception_v3", "batch_norm": "frozen", "remat": False},
    "vgg16": {"name": "vgg16", "din_compat": False, "remat": False},
    # 512 channels at 1/32 of the frame, the shape the paper prints.
    "small": {"name": "small", "features": (32, 64, 128, 256, 512)},
}


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
