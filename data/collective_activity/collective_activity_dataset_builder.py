"""TFDS builder of Collective Activity, from the authors' own files on disk."""

from data.prepared.builder import ClipBuilder, default_configs


class Builder(ClipBuilder):
    """Prepares Collective Activity; see `ClipBuilder`."""

    BUILDER_CONFIGS = default_configs("collective_activity")
    HOMEPAGE = "https://cvgl.stanford.edu/projects/collective/collectiveActivity.html"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Fetch ActivityDataset.zip and ActivityTracks.tar.gz from {HOMEPAGE}, unpack both into "
        "one folder and give that."
    )
