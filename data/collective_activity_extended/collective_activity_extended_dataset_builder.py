"""TFDS builder of the Collective Activity Extended set, from the authors' own files on disk."""

from data.prepared.builder import ClipBuilder, default_configs


class Builder(ClipBuilder):
    """Prepares the Collective Activity Extended set; see `ClipBuilder`."""

    BUILDER_CONFIGS = default_configs("collective_activity_extended")
    HOMEPAGE = "https://cvgl.stanford.edu/projects/collective/collectiveActivity.html"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Fetch ActivityDataset.zip, ActivityDataset2.tar.gz and ActivityTracks.tar.gz from "
        f"{HOMEPAGE}, unpack all into one folder and give that."
    )
