"""The data that experiments run on (`--data`): configs, how to prepare them, how long they take."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from stvh_jax.config import Config


@dataclasses.dataclass(frozen=True)
class Setting:
    """Data and the config that trains on them.

    Attributes:
      name: the value of `--data`.
      title: what the data are, for a reader.
      config: the module of the config within `configs/`.
      dataset: the data set of the paper that they are a form of: vd, cad or caed.
      has_frames: whether there are pixels; without them only position is studied, but for what
        focus 0 shows where there is appearance.
      needs: the command that prepares the data.
      seconds: how long a training takes on one CPU core; None if never measured.
      label_free_seconds: the same of a training without labels.
      evaluation_seconds: how long an evaluation takes; None if never measured.
      has_appearance: whether there are features of whole frames in place of pixels.
      is_rendered: whether the clips are drawn by a program: no figure of the paper is of such data.
      checkpoint: which checkpoint is judged: the `latest` where all clips but the test clips are
        trained on, as in the paper; the `best` on validation where some are held out for that.
      corrected: the prepared variant that has the data with corrected labels; "" if there is none.
      global_hash: the changes, by field of the config, that the code of whole frames needs to see
        enough of them.
    """

    name: str
    title: str
    config: str
    dataset: str
    has_frames: bool
    needs: str
    seconds: float | None = None
    label_free_seconds: float | None = None
    evaluation_seconds: float | None = None
    has_appearance: bool = False
    is_rendered: bool = False
    checkpoint: str = "latest"
    corrected: str = ""
    global_hash: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def build_config(self, options: str = "") -> Config:
        """Builds the config as its file has it, with what may follow the colon of its path."""
        get_config = importlib.import_module(f"configs.{self.config}").get_config
        return get_config(options) if options else get_config()

    @property
    def trains_without_labels(self) -> bool:
        """Whether the config has the option label_free."""
        try:
            config = self.build_config("label_free")
        except ValueError:
            return False
        return config.get("objective") == "label_free"


def _prepare(dataset: str, options: str = "") -> str:
    return f"python -m data prepare {dataset} --raw DIR{options}"


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            name="vd_boxes",
            title="the Volleyball Dataset's real labels, from the boxes of the key frame alone",
            config="vd_boxes",
            dataset="vd",
            has_frames=False,
            needs=_prepare("volleyball", " --boxes-only"),
            seconds=1560,
            label_free_seconds=300,
            evaluation_seconds=20,
            corrected="boxes_only-corrected",
        ),
        Setting(
            name="vd_features",
            title="the Volleyball Dataset's real labels, from the boxes of the key frame and the "
            "appearance of whole frames",
            config="vd_features",
            dataset="vd",
            has_frames=False,
            has_appearance=True,
            needs=_prepare("volleyball", " --boxes-only --features FILE.npz"),
            seconds=1560,
            label_free_seconds=300,
            evaluation_seconds=20,
            corrected="boxes_and_appearance-corrected",
        ),
        Setting(
            name="cad_boxes",
            title="Collective Activity's real labels, from boxes and their tracks alone",
            config="cad_boxes",
            dataset="cad",
            has_frames=False,
            needs=_prepare("collective_activity", " --boxes-only"),
            seconds=340,
            label_free_seconds=340,
            evaluation_seconds=40,
        ),
        Setting(
            name="demo",
            title="the demo's rendered matches",
            config="demo",
            dataset="vd",
            has_frames=True,
            is_rendered=True,
            needs="make demo",
            seconds=210,
            label_free_seconds=840,
            evaluation_seconds=30,
            checkpoint="best",
            # One convolution is enough for the small boxes of people, but not for whole frames.
            global_hash={
                "model.backbone.features": (16, 32, 64, 128),
                "model.backbone.strides": (2, 2, 2, 2),
            },
        ),
        Setting(
            name="vd",
            title="the Volleyball Dataset",
            config="vd",
            dataset="vd",
            has_frames=True,
            needs=_prepare("volleyball"),
            corrected="frames-corrected",
        ),
        Setting(
            name="cad",
            title="the Collective Activity Dataset",
            config="cad",
            dataset="cad",
            has_frames=True,
            needs=_prepare("collective_activity"),
        ),
        Setting(
            name="caed",
            title="the Collective Activity Extended Dataset",
            config="caed",
            dataset="caed",
            has_frames=True,
            needs=_prepare("collective_activity_extended"),
        ),
    )
}
