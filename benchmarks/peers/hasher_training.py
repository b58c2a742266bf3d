"""The training of `benchmarks.peers.hasher`: its losses, augmentation and step, in PyTorch."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.peers.hasher import Batch, Outputs
from stvh_jax.config import Config

UNKNOWN = -1


def loss_of(outputs: Outputs, batch: Batch, weights: Config) -> Tensor:
    """Adds the losses of `config.loss` for clips of known activities; a scalar."""
    return sum(terms_of(outputs, batch, weights), torch.zeros(()))


def terms_of(outputs: Outputs, batch: Batch, weights: Config) -> list[Tensor]:
    """Gives the weighted losses that `weights` asks for."""
    learned = len(outputs.activity_logits)
    code = outputs.relaxed[-1]
    terms = [
        (focus + 1)
        / learned
        * functional.cross_entropy(logits, batch.activity, label_smoothing=weights.label_smoothing)
        for focus, logits in enumerate(outputs.activity_logits)
    ]
    entropy = functional.cross_entropy(
        outputs.action_logits.flatten(0, 1),
        batch.action.flatten(),
        ignore_index=UNKNOWN,
        reduction="none",
    ).view_as(batch.action)
    known = (batch.action != UNKNOWN).sum(1).clamp(min=1)
    by_clip = entropy.sum(1) / (known if weights.action_reduction == "mean" else 1)
    terms.append(weights.action * by_clip.mean())
    terms.append(weights.quantisation * quantisation(outputs.relaxed[-learned:]))
    terms.append(weights.contrastive * contrastive(outputs.relation, code, batch, weights))
    terms.append(weights.reconstruction * outputs.reconstruction_error.mean())
    if weights.supervised_contrastive:
        found = supervised_contrastive(code, batch.activity, weights.supervised_temperature)
        terms.append(weights.supervised_contrastive * found)
    return terms


def quantisation(relaxed: Tensor) -> Tensor:
    """Eq 7 of codes `[F, B, K]`, the mean over foci and clips, for the paper's batch of 2."""
    with torch.no_grad():
        codes = torch.where(relaxed >= 0, 1.0, -1.0)
        target = codes @ codes.mT
    gap = (relaxed @ relaxed.mT - target).abs() / relaxed.shape[-1]
    return 2 * gap.exp().mean()


def contrastive(relation: Tensor, code: Tensor, batch: Batch, weights: Config) -> Tensor:
    """Eq 8, the mean over the clips, for the paper's batch of 2."""
    cosine = functional.normalize(relation) @ functional.normalize(code).mT / weights.temperature
    logits = torch.cat([cosine, cosine.mT], dim=1)
    if weights.same_class_mask:
        same = batch.activity[:, None] == batch.activity
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same.repeat(1, 2), -torch.inf)
    return 2 * (logits.logsumexp(1) - cosine.diagonal()).mean()


def supervised_contrastive(code: Tensor, activity: Tensor, temperature: float) -> Tensor:
    """The loss of SupCon, the mean over the clips."""
    unit = functional.normalize(code)
    itself = torch.eye(len(code), dtype=torch.bool)
    cosine = unit @ unit.mT / temperature
    total = cosine.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    positive = (activity[:, None] == activity) & ~itself
    summed = torch.where(positive, total - cosine, 0).sum(1)
    return (summed / positive.sum(1).clamp(min=1)).mean()


def augmented(batch: Batch, train: Config) -> Batch:
    """Shakes the camera and the boxes, and leaves people out, as `config.train` says."""
    boxes, mask = batch.boxes, batch.mask
    clips, _, actors, _ = boxes.shape
    if train.box_jitter:
        draws = train.box_jitter * torch.randn(clips, 1, 1, 3)
        boxes = (boxes - 0.5) * draws[..., :1].exp() + 0.5 + draws[..., 1:].repeat(1, 1, 1, 2)
    if train.box_noise:
        moves = train.box_noise * torch.randn(clips, 1, actors, 4)
        shaken = boxes + moves * (boxes[..., 2:3] - boxes[..., 0:1])
        whole = (shaken[..., 2:] > shaken[..., :2]).all(-1, keepdim=True)
        boxes = torch.where(whole, shaken, boxes)
    if train.leave_out:
        kept = mask & (torch.rand(mask.shape) >= train.leave_out)
        enough = 2 * kept.sum(1, keepdim=True) > mask.sum(1, keepdim=True)
        mask = torch.where(enough, kept, mask)
    action = batch.action.masked_fill(~mask, UNKNOWN)
    return batch._replace(boxes=boxes * mask[:, None, :, None], mask=mask, action=action)


class Trainer:
    """Trains a module by AdamW, one batch a step, with clipping and a moving average."""

    def __init__(self, module: nn.Module, config: Config):
        self.module, self.config = module.train(), config
        kernels = [p for name, p in module.named_parameters() if _is_kernel(name)]
        others = [p for name, p in module.named_parameters() if not _is_kernel(name)]
        decay = config.optimizer.weight_decay
        groups = [
            {"params": kernels, "weight_decay": decay},
            {"params": others, "weight_decay": 0.0},
        ]
        rate = config.optimizer.learning_rate
        # The fused form is the fastest that PyTorch has on a CPU.
        self.optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)
        self.average = None
        if config.train.average:
            moving = get_ema_multi_avg_fn(config.train.average)
            self.average = AveragedModel(module, multi_avg_fn=moving)

    def step(self, batch: Batch) -> float:
        """Trains on a batch and returns the loss."""
        self.optimizer.zero_grad()
        batch = augmented(batch, self.config.train)
        loss = loss_of(self.module(batch), batch, self.config.loss)
        loss.backward()
        if self.config.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        return loss.item()


def _is_kernel(name: str) -> bool:
    return name.endswith(".weight") and "norm" not in name.split(".")[-2]
