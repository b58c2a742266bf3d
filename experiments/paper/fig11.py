"""Fig. 11: the attention of every layer: O-MFAT among the frames, G-MFAT among the actors."""

import numpy as np

from experiments.results import Report
from experiments.study import Study
from experiments.study import mstvh_alone as variants
from stvh_jax.clips import Clips
from stvh_jax.evaluation.attention import attention_by_layer
from stvh_jax.reporting import plots
from stvh_jax.reporting.tables import Table

__all__ = ["NEEDS_RUNS", "ONE_SEED", "TITLE", "report", "variants"]
TITLE = "Fig. 11: attention by layer"
# Its report reads more than the JSON keeps of each run.
NEEDS_RUNS = True
# Pictures of one model; other seeds would show the same.
ONE_SEED = True
_CLIPS = 2


def report(study: Study) -> Report:
    """One figure per clip: the first test clips of two activities, by the model of one seed."""
    encoder, dataset = study.open(study.runs(study.variants[0])[0])
    key_frame = encoder.config.model.key_frame
    figures, rows = {}, []
    for number, clips in enumerate(_first_clips(dataset, encoder), start=1):
        layers = attention_by_layer(encoder, clips)
        valid = np.asarray(clips.actor_mask)[0]
        objects = [layer.objects[0][valid].mean(axis=0) for layer in layers]
        group = [layer.group[0, key_frame][np.ix_(valid, valid)] for layer in layers]
        activity = encoder.activity_names[int(clips.activity[0])]
        title = f"{activity}, match {clips.match[0]}, clip {clips.clip[0]}"
        figures[str(number)] = plots.attention(
            objects,
            group,
            boxes=np.asarray(clips.boxes)[0, key_frame][valid],
            actions=[encoder.action_names[action] for action in np.asarray(clips.action)[0][valid]],
            image=_image(dataset, encoder, clips),
            title=title,
        )
        for layer, (among_frames, among_actors) in enumerate(zip(objects, group), start=1):
            spread = (_entropy(among_frames), _entropy(among_actors))
            rows.append([title, str(layer), *(f"{value:.2f}" for value in spread)])
    note = "A row of a map shows where a frame (mean over the actors) or an actor of the key frame "
    note += "looks; the more attention a box gets, the brighter it is. Evenness is the entropy of "
    note += "the rows, divided by that of equal shares: 1 means equal attention everywhere."
    table = Table(["clip", "layer", "evenness over frames (O)", "evenness over actors (G)"], rows)
    return Report([table], [note], figures, pictures=study.setting.has_frames, unit="")


def _first_clips(dataset, encoder) -> list[Clips]:
    """Takes the first test clip of each of the first activities, so that no choice is involved."""
    found: dict[int, Clips] = {}
    for clips in dataset.evaluation_batches(encoder.config.data.test_split, batch_size=1):
        found.setdefault(int(clips.activity[0]), clips)
        if len(found) == _CLIPS:
            break
    return list(found.values())


def _image(dataset, encoder, clips: Clips):
    if not dataset.has_frames:
        return None
    name = str(clips.match[0]), str(clips.clip[0])
    return dataset.key_frame_images(encoder.config.data.test_split, {name})[name]


def _entropy(rows) -> float:
    """Averages the entropies of the rows, as shares of the largest possible entropy."""
    size = rows.shape[-1]
    if size == 1:
        return 1.0
    logarithms = np.log(np.maximum(rows, 1e-30))
    return float(-(rows * logarithms).sum(axis=-1).mean() / np.log(size))
