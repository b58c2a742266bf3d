"""TFDS builder of the Volleyball Dataset, from the authors' own files on disk."""

from data.prepared.builder import ClipBuilder, default_configs


class Builder(ClipBuilder):
    """Prepares the Volleyball Dataset; see `ClipBuilder`."""

    BUILDER_CONFIGS = default_configs("volleyball")
    HOMEPAGE = "https://github.com/mostafa-saad/deep-activity-rec"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Fetch the Volleyball Dataset from {HOMEPAGE} and give the folder that holds "
        "videos/<video>/annotations.txt."
    )
