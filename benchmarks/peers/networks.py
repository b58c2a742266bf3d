"""Inception-v3 and VGG-16 once more, in PyTorch's functions and under torchvision's names.

They share no code with the library's networks. The plans are in the words of the papers' figures: a
line is a branch, `>` goes on, `( | )` forks, and a convolution is its name, channels and kernel,
with `/2` where it halves. Only the forward passes need torch; the tensors are NumPy's.
"""

import re

import numpy as np

STEM = """
    Conv2d_1a_3x3 32 3x3/2 > Conv2d_2a_3x3 32 3x3v > Conv2d_2b_3x3 64 3x3 > maximum
    > Conv2d_3b_1x1 80 1x1 > Conv2d_4a_3x3 192 3x3v > maximum
"""
A = """
    branch1x1 64 1x1
    branch5x5_1 48 1x1 > branch5x5_2 64 5x5
    branch3x3dbl_1 64 1x1 > branch3x3dbl_2 96 3x3 > branch3x3dbl_3 96 3x3
    average > branch_pool {} 1x1
"""
B = """
    branch3x3 384 3x3/2
    branch3x3dbl_1 64 1x1 > branch3x3dbl_2 96 3x3 > branch3x3dbl_3 96 3x3/2
    maximum
"""
C = """
    branch1x1 192 1x1
    branch7x7_1 {0} 1x1 > branch7x7_2 {0} 1x7 > branch7x7_3 192 7x1
    branch7x7dbl_1 {0} 1x1 > branch7x7dbl_2 {0} 7x1 > branch7x7dbl_3 {0} 1x7 \
        > branch7x7dbl_4 {0} 7x1 > branch7x7dbl_5 192 1x7
    average > branch_pool 192 1x1
"""
D = """
    branch3x3_1 192 1x1 > branch3x3_2 320 3x3/2
    branch7x7x3_1 192 1x1 > branch7x7x3_2 192 1x7 > branch7x7x3_3 192 7x1 > branch7x7x3_4 192 3x3/2
    maximum
"""
E = """
    branch1x1 320 1x1
    branch3x3_1 384 1x1 > ( branch3x3_2a 384 1x3 | branch3x3_2b 384 3x1 )
    branch3x3dbl_1 448 1x1 > branch3x3dbl_2 384 3x3 \
        > ( branch3x3dbl_3a 384 1x3 | branch3x3dbl_3b 384 3x1 )
    average > branch_pool 192 1x1
"""
INCEPTION = {
    "": STEM.replace("\n    >", " >"),
    "Mixed_5b.": A.format(32),
    "Mixed_5c.": A.format(64),
    "Mixed_5d.": A.format(64),
    "Mixed_6a.": B,
    "Mixed_6b.": C.format(128),
    "Mixed_6c.": C.format(160),
    "Mixed_6d.": C.format(160),
    "Mixed_6e.": C.format(192),
    "Mixed_7a.": D,
    "Mixed_7b.": E,
    "Mixed_7c.": E,
}
# Index of every convolution of VGG-16 among its layers, with its channels.
VGG = dict(
    zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
    )
)
VGG_POOLINGS = (4, 9, 16, 23, 30)
# Of ImageNet's red, green and blue, in 0..1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def inception_state(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a state dict with all that torchvision's has, for 10 classes."""
    state = {}

    def draw(name, x, channels, kernel, *_):
        state[f"{name}.conv.weight"] = _kernel(rng, channels, x, *kernel)
        state.update(_norm(rng, f"{name}.bn", channels))
        return channels

    channels = 3
    for prefix, plan in INCEPTION.items():
        channels = _walk(plan, prefix, channels, draw, lambda kind, x: x, sum)
    draw("AuxLogits.conv0", 768, 128, (1, 1))
    draw("AuxLogits.conv1", 128, 768, (5, 5))
    return state | _dense(rng, "AuxLogits.fc", 768) | _dense(rng, "fc", 2048)


def vgg_state(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a state dict; of the dense layers, tensors of the right names but of small shapes."""
    state, channels = {}, 3
    for index, features in VGG.items():
        state[f"features.{index}.weight"] = _kernel(rng, features, channels, 3, 3)
        state[f"features.{index}.bias"] = _normal(rng, features)
        channels = features
    for index in (0, 3, 6):
        state |= _dense(rng, f"classifier.{index}", 16)
    return state


def inception_maps(state, x, *, last: str = "Mixed_7c") -> dict:
    """Runs Inception-v3 in inference or with frozen statistics, as far as the block `last`.

    Args:
      state: tensors by torchvision's names.
      x: pixels in -1..1, `[n, 3, H, W]`.
      last: the last block.

    Returns:
      The maps `[n, C, H, W]` after every block.
    """
    import torch
    from torch.nn import functional

    def convolve(name, x, channels, kernel, stride, padding):
        bn = [state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var")]
        affine = [state[f"{name}.bn.{part}"] for part in ("weight", "bias")]
        x = functional.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
        return functional.relu(functional.batch_norm(x, *bn, *affine, eps=1e-3), inplace=True)

    def pool(kind, x):
        if kind == "maximum":
            return functional.max_pool2d(x, 3, stride=2)
        return functional.avg_pool2d(x, 3, stride=1, padding=1)

    maps = {}
    for prefix, plan in INCEPTION.items():
        x = _walk(plan, prefix, x, convolve, pool, lambda parts: torch.cat(parts, dim=1))
        maps[prefix.rstrip(".")] = x
        if prefix.rstrip(".") == last:
            break
    del maps[""]
    return maps


def vgg_maps(state, x) -> dict:
    """Runs VGG-16 as far as its last pooling.

    Args:
      state: tensors by torchvision's names.
      x: pixels in ImageNet's range, `[n, 3, H, W]`.

    Returns:
      The maps `[n, C, H, W]` after every pooling.
    """
    from torch.nn import functional

    maps = {}
    for index in range(VGG_POOLINGS[-1] + 1):
        if index in VGG:
            weight, bias = (state[f"features.{index}.{part}"] for part in ("weight", "bias"))
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1), inplace=True)
        elif index in VGG_POOLINGS:
            x = functional.max_pool2d(x, 2)
            maps[f"pool{len(maps) + 1}"] = x
    return maps


def imagenet_range(frames: np.ndarray):
    """Scales uint8 frames `[n, H, W, 3]` by ImageNet's mean and deviation, to `[n, 3, H, W]`."""
    import torch

    x = torch.tensor(frames).permute(0, 3, 1, 2).double() / 255
    mean, deviation = (torch.tensor(v).double()[:, None, None] for v in (MEAN, DEVIATION))
    return ((x - mean) / deviation).float()


def symmetric_range(x):
    """Brings ImageNet's range back to -1..1, as torchvision's `transform_input` does."""
    x = x.clone()
    for channel, (mean, deviation) in enumerate(zip(MEAN, DEVIATION)):
        x[:, channel] = x[:, channel] * (deviation / 0.5) + (mean - 0.5) / 0.5
    return x


def _walk(plan, prefix, x, convolve, pool, join):
    """Leads `x` through the branches of a plan and joins them."""
    branches = plan.strip().splitlines()
    return _joined([_branch(line, prefix, x, convolve, pool, join) for line in branches], join)


def _branch(line, prefix, x, convolve, pool, join):
    for step in re.split(r"\s+>\s+", line.strip()):
        if step.startswith("("):
            forks = step.strip("() ").split(" | ")
            x = _joined([_branch(fork, prefix, x, convolve, pool, join) for fork in forks], join)
        elif step in ("average", "maximum"):
            x = pool(step, x)
        else:
            name, channels, height, width, ending = re.fullmatch(
                r"(\w+) (\d+) (\d)x(\d)(/2|v|)", step.strip()
            ).groups()
            kernel = (int(height), int(width))
            padding = (0, 0) if ending else (kernel[0] // 2, kernel[1] // 2)
            stride = 2 if ending == "/2" else 1
            x = convolve(prefix + name, x, int(channels), kernel, stride, padding)
    return x


def _joined(parts, join):
    return join(parts) if len(parts) > 1 else parts[0]


def _normal(rng, *shape):
    return rng.standard_normal(shape, np.float32)


def _kernel(rng, channels, inputs, height, width):
    """Draws a kernel that keeps the size of the activations behind a ReLU."""
    deviation = (2 / (inputs * height * width)) ** 0.5
    return _normal(rng, channels, inputs, height, width) * np.float32(deviation)


def _norm(rng, name, channels):
    return {
        f"{name}.weight": rng.uniform(0.5, 1.5, channels).astype(np.float32),
        f"{name}.bias": _normal(rng, channels) / 2,
        f"{name}.running_mean": _normal(rng, channels) / 2,
        f"{name}.running_var": rng.uniform(0.3, 3, channels).astype(np.float32),
        f"{name}.num_batches_tracked": np.asarray(7),
    }


def _dense(rng, name, inputs):
    return {f"{name}.weight": _normal(rng, 10, inputs), f"{name}.bias": _normal(rng, 10)}
