"""STVH and M-STVH once more, as modules of PyTorch: on boxes, or on given actor features.

They share no code with the library's models, only the fields of a config. Of these they know what
the paper's settings and configs/vd_boxes.py need: position in graphs, nested attention, residuals,
a learned weight of the graphs, and codes of one length for each focus.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from stvh_jax.clips import Clips
from stvh_jax.models.config import ModelConfig

EPSILON = 1e-6


class Batch(NamedTuple):
    """Clips as tensors: boxes `[B, T, N, 4]`, a mask `[B, N]`, features `[B, T, N, D]`, classes."""

    boxes: Tensor
    mask: Tensor
    features: Tensor | None
    activity: Tensor
    action: Tensor

    @classmethod
    def of(cls, clips: Clips) -> "Batch":
        """Takes the arrays of clips, without a copy where they are NumPy's."""
        features = clips.actor_features
        return cls(
            torch.from_numpy(clips.boxes),
            torch.from_numpy(clips.actor_mask),
            None if features is None else torch.from_numpy(features),
            torch.from_numpy(clips.activity).long(),
            torch.from_numpy(clips.action).long(),
        )


class Outputs(NamedTuple):
    """What the library's `Outputs` are, under the same names."""

    relaxed: Tensor
    activity_logits: Tensor
    action_logits: Tensor
    relation: Tensor
    reconstruction_error: Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Averages `[B, T, N, D]` over frames and valid actors, to `[B, D]`."""
    total = (values * mask[:, None, :, None]).sum((1, 2))
    return total / (mask.sum(1, keepdim=True) * values.shape[1]).clamp(min=1)


def intersection_over_union(boxes: Tensor) -> Tensor:
    """Compares each actor's boxes with its earlier ones: `[B, T, N, 4]` to `[B, N, T, T]`."""
    tracks = boxes.transpose(1, 2)
    first, second = tracks[:, :, :, None], tracks[:, :, None]
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    area = (tracks[..., 2:] - tracks[..., :2]).clamp(min=0).prod(-1)
    union = area[..., :, None] + area[..., None, :] - common
    return torch.where(union > 0, common / union, 0).tril()


def nearness(boxes: Tensor, mask: Tensor) -> Tensor:
    """Compares the actors of each frame by standardised distance, to `[B, T, N, N]`."""
    valid = mask[:, None, :, None]
    count = valid.sum(2, keepdim=True).clamp(min=1)
    mean = (boxes * valid).sum(2, keepdim=True) / count
    variance = ((boxes - mean).square() * valid).sum(2, keepdim=True) / count
    scaled = torch.where(variance > 0, boxes * variance.rsqrt(), 0)
    difference = scaled[:, :, :, None] - scaled[:, :, None]
    pairs = valid & mask[:, None, None]
    return torch.where(pairs, 1 - difference.square().sum(-1).sqrt(), 0)


class GraphAttention(nn.Module):
    """Attention over S places, joined with attention to a graph of them."""

    def __init__(self, size: int, places: int, product: str):
        super().__init__()
        self.qkv = nn.Linear(size, 3 * size, bias=False)
        self.graph_weight = nn.Parameter(torch.eye(places))
        self.product = product

    def forward(self, x: Tensor, graph: Tensor, mask: Tensor | None) -> Tensor:
        """Mixes `[B, R, S, D]`; a mask `[B, 1, 1, S]` says whom all may look at."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        graph = graph @ self.graph_weight
        if mask is not None:
            graph = graph.masked_fill(~mask, -math.inf)
        if self.product == "hadamard":
            # The softmax of a sum is the product of two, with its rows renormalised.
            return functional.scaled_dot_product_attention(query, key, value, attn_mask=graph)
        value = graph.softmax(-1) @ value
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def feed_forward(size: int, multiplier: int, dropout: float) -> nn.Sequential:
    """Two linear layers."""
    hidden = multiplier * size
    gelu, drop = nn.GELU(approximate="tanh"), nn.Dropout(dropout)
    return nn.Sequential(nn.Linear(size, hidden), gelu, drop, nn.Linear(hidden, size))


class Half(nn.Module):
    """A layer of STVH in time, or in space: attention, then two linear layers."""

    def __init__(self, config: ModelConfig, *, in_time: bool):
        super().__init__()
        size, places = config.features, config.num_frames if in_time else config.num_actors
        self.norm = nn.LayerNorm(size, EPSILON)
        self.attention = GraphAttention(size, places, config.fusion.product)
        self.feed_forward_norm = nn.LayerNorm(size, EPSILON)
        self.feed_forward = feed_forward(size, config.fusion.ffn_multiplier, config.dropout)
        self.drop, self.in_time = nn.Dropout(config.dropout), in_time

    def forward(self, x: Tensor, graph: Tensor, mask: Tensor) -> Tensor:
        """Maps `[B, T, N, D]`."""
        normal = self.norm(x)
        if self.in_time:
            mixed = self.attention(normal.transpose(1, 2), graph, None).transpose(1, 2)
        else:
            mixed = self.attention(normal, graph, mask)
        x = x + self.drop(mixed)
        return x + self.drop(self.feed_forward(self.feed_forward_norm(x)))


class TwoHalves(nn.Module):
    """A layer of STVH."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.temporal, self.spatial = Half(config, in_time=True), Half(config, in_time=False)

    def forward(self, x: Tensor, time: Tensor, space: Tensor, mask: Tensor):
        """Gives what both halves make of `[B, T, N, D]`."""
        temporal = self.temporal(x, time, mask)
        return temporal, self.spatial(temporal, space, mask)


class MultiFocus(nn.Module):
    """A layer of M-STVH: attention in time, then in space, then two linear layers."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        size, product = config.features, config.fusion.product
        self.norm = nn.LayerNorm(size, EPSILON)
        self.object = GraphAttention(size, config.num_frames, product)
        self.group = GraphAttention(size, config.num_actors, product)
        self.feed_forward_norm = nn.LayerNorm(size, EPSILON)
        self.feed_forward = feed_forward(size, config.fusion.ffn_multiplier, config.dropout)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, time: Tensor, space: Tensor, mask: Tensor):
        """Maps `[B, T, N, D]`; it has no temporal half."""
        objects = self.object(self.norm(x).transpose(1, 2), time, None).transpose(1, 2)
        x = x + self.drop(self.group(objects, space, mask))
        return None, x + self.drop(self.feed_forward(self.feed_forward_norm(x)))


class HashHead(nn.Module):
    """A relaxed code, and the activity read from it."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        heads, size = config.heads, config.features
        self.pools_twice = heads.hash_head == "mean_and_maximum"
        if self.pools_twice:
            self.mean_norm, self.maximum_norm = (nn.LayerNorm(size, EPSILON) for _ in range(2))
        self.hash = nn.Linear(size * (2 if self.pools_twice else 1), heads.length)
        self.norm = nn.LayerNorm(heads.length, EPSILON)
        self.activity = nn.Linear(heads.length, heads.num_activities)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Makes `[B, K]` and `[B, G]` of `[B, T, N, D]`."""
        pooled = masked_mean(x, mask)
        if self.pools_twice:
            highest = x.masked_fill(~mask[:, None, :, None], -math.inf).amax(2).mean(1)
            pooled = torch.cat([self.mean_norm(pooled), self.maximum_norm(highest)], dim=-1)
        relaxed = torch.tanh(self.norm(self.hash(pooled)))
        return relaxed, self.activity(relaxed)


class VisualHashHead(nn.Module):
    """The code of focus 0, a random projection of standardised features."""

    def __init__(self, size: int, bits: int):
        super().__init__()
        self.standardise = nn.BatchNorm1d(size, affine=False, momentum=0.01)
        self.register_buffer("kernel", torch.randn(size, bits) / math.sqrt(size))

    @torch.no_grad()
    def forward(self, pooled: Tensor) -> Tensor:
        """Makes `[B, K]` of `[B, C]`."""
        return torch.tanh(self.standardise(pooled) @ self.kernel)


class RelationEncoder(nn.Module):
    """Two graph convolutions of the actions over the graph in space."""

    def __init__(self, actions: int, bits: int):
        super().__init__()
        self.first, self.second = nn.Linear(actions, bits), nn.Linear(bits, bits)

    def forward(self, action_logits: Tensor, graph: Tensor, mask: Tensor) -> Tensor:
        """Makes `[B, K]` of `[B, N, A]`."""
        adjacency = graph.masked_fill(~mask[:, None, None], -math.inf).softmax(-1)
        hidden = functional.relu(adjacency @ self.first(action_logits.softmax(-1))[:, None])
        # The second convolution is linear, so that the mean may come before it.
        return self.second(masked_mean(adjacency @ hidden, mask))


def describe(boxes: Tensor, mask: Tensor, *, in_detail: bool) -> Tensor:
    """Describes each box by 15 numbers, or by 26 in detail."""
    valid, actors = mask[:, None, :, None], mask.sum(1)[:, None, None, None].clamp(min=1)
    low, high = boxes[..., :2], boxes[..., 2:]
    centre, size = (low + high) / 2, high - low
    angles = torch.cat([math.pi * centre, 2 * math.pi * centre], dim=-1)
    first, second = angles.split(2, dim=-1)
    waves = [first.sin(), first.cos(), second.sin(), second.cos()]
    local = torch.cat([centre, size[..., :1]], dim=-1)
    centred = (local - (local * valid).sum(2, keepdim=True) / actors) * valid
    spread = (centred.square().sum(2, keepdim=True) / actors + 1e-6).sqrt()
    parts = [centre, size, *waves, centred / spread]
    if in_detail:
        height, width = size.clamp(min=1e-3).log().split(1, dim=-1)
        feet = math.pi * high[..., :1]
        edges = [low[..., :1], high[..., :1], height, width, height - width]
        waves = [feet.sin(), feet.cos(), (2 * feet).sin(), (2 * feet).cos()]
        x = centre[..., 1]
        further_left = ((x[..., None, :] < x[..., :, None]) & mask[:, None, None]).sum(-1)
        rank = 2 * further_left[..., None] / actors - 1
        parts += [*edges, *waves, rank, (actors / 10).expand_as(rank)]
    return torch.cat(parts, dim=-1) * valid


class BoxFeatures(nn.Module):
    """Actor features from a description of the boxes, and the description as read from them."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.in_detail, size = config.visual.detailed_boxes, config.features
        self.described = 26 if self.in_detail else 15
        self.hidden = nn.Linear(self.described, size)
        self.embedding = nn.Linear(size, size)
        self.decoder = nn.Linear(size, self.described) if config.multi_focus else None

    def forward(self, boxes: Tensor, mask: Tensor):
        """Gives features `[B, T, N, D]`, the description and its reconstruction."""
        description = describe(boxes, mask, in_detail=self.in_detail)
        hidden = functional.gelu(self.hidden(description), approximate="tanh")
        features = self.embedding(hidden)
        return features, description, self.decoder(features) if self.decoder else None


class Hasher(nn.Module):
    """STVH or M-STVH with a code for each focus; for one code for all foci without focus 0."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config, heads, size = config, config.heads, config.features
        layers = config.fusion.layers
        self.from_boxes = config.visual.source == "boxes"
        self.boxes = BoxFeatures(config) if self.from_boxes else None
        self.embedding = None if self.from_boxes else nn.Linear(size, size)
        layer = MultiFocus if config.multi_focus else TwoHalves
        self.layers = nn.ModuleList(layer(config) for _ in range(layers))
        self.foci = range(1, layers + 1) if config.multi_focus else [layers]
        self.heads = nn.ModuleDict({str(focus): HashHead(config) for focus in self.foci})
        self.visual_head = None
        if config.multi_focus and heads.objective == "printed" and heads.has_visual_code:
            shown = self.boxes.described if self.boxes else size
            self.visual_head = VisualHashHead(shown, heads.length)
        self.action_norm = nn.LayerNorm(size, EPSILON)
        self.action = nn.Linear(size, heads.num_actions)
        self.relation = RelationEncoder(heads.num_actions, heads.length)

    def forward(self, batch: Batch) -> Outputs:
        """Encodes a batch of clips."""
        key_frame, size = self.config.key_frame, self.config.features
        middle = batch.boxes[:, key_frame, :, 1] + batch.boxes[:, key_frame, :, 3]
        order = middle.masked_fill(~batch.mask, math.inf).argsort(dim=1, stable=True)
        mask = batch.mask.gather(1, order)
        place = order[:, None, :, None]
        frames = batch.boxes.shape[1]
        boxes = batch.boxes.gather(2, place.expand(-1, frames, -1, 4)) * mask[:, None, :, None]
        time, space = intersection_over_union(boxes), nearness(boxes, mask)
        decoded = None
        if self.boxes is not None:
            x, shown, decoded = self.boxes(boxes, mask)
        else:
            shown = batch.features.gather(2, place.expand(-1, frames, -1, size))
            shown = shown * mask[:, None, :, None]
            x = self.embedding(shown)
        x = x * mask[:, None, :, None]
        scale, temporal = [x], None
        for layer in self.layers:
            temporal, x = layer(x, time, space, mask[:, None, None])
            scale.append(x)
        hashed = [self.heads[str(focus)](scale[focus], mask) for focus in self.foci]
        codes = [code for code, _ in hashed]
        if self.visual_head is not None:
            codes.insert(0, self.visual_head(masked_mean(shown, mask)))
        if self.config.heads.action_features == "f_T" and temporal is not None:
            x = temporal
        actions = self.action(self.action_norm(x.mean(1)))
        error = torch.zeros(len(boxes))
        if decoded is not None:
            error = masked_mean((decoded - shown).square(), mask).mean(1)
        return Outputs(
            torch.stack(codes),
            torch.stack([logits for _, logits in hashed]),
            actions.gather(1, order.argsort(dim=1)[..., None].expand_as(actions)),
            self.relation(actions, space, mask),
            error,
        )


class SymmetricHasher(nn.Module):
    """A hasher of half the bits that reads clips and their mirror images; classes have no sides."""

    def __init__(self, half: ModelConfig):
        super().__init__()
        self.hasher = Hasher(half)

    def forward(self, batch: Batch) -> Outputs:
        """Encodes clips, whose bits are even, and mirror images, whose bits are odd."""
        y_min, x_min, y_max, x_max = batch.boxes.unbind(-1)
        image = torch.stack([y_min, 1 - x_max, y_max, 1 - x_min], dim=-1)
        image = image * batch.mask[:, None, :, None]
        both = batch._replace(
            boxes=torch.cat([batch.boxes, image]), mask=torch.cat([batch.mask, batch.mask])
        )
        found, clips = self.hasher(both), len(batch.boxes)
        relation = torch.stack(found.relation.split(clips), dim=-1).flatten(1)
        return Outputs(
            torch.stack(found.relaxed.split(clips, dim=1), dim=-1).flatten(2),
            sum(found.activity_logits.split(clips, dim=1)),
            sum(found.action_logits.split(clips)) / 2,
            relation,
            sum(found.reconstruction_error.split(clips)) / 2,
        )
