"""The record of a clip: what an index keeps of it beside its codes."""

import pyarrow as pa

# The record of a clip; match and clip name it, anything else may be null.
RECORD = pa.schema(
    [
        pa.field("match", pa.string(), nullable=False),  # the source video
        pa.field("clip", pa.string(), nullable=False),  # its name within the source video
        pa.field("start", pa.float64()),  # seconds from the beginning of the source video
        pa.field("stop", pa.float64()),
        pa.field("activity", pa.string()),  # as labelled
        pa.field("predicted", pa.string()),  # by the model
        pa.field("confidence", pa.float64()),  # the probability of the prediction, 0..1
        pa.field("split", pa.string()),
        pa.field("media", pa.string()),  # the file to play, a path or a URL
    ]
)

# The fields that name a clip.
NAMES = ("match", "clip")

# The column of the names that clips are given (`naming`): one of the user's own columns, of texts,
# which an index has from the first name on.
GIVEN_NAME = "name"

# The record as indexes of format 1 store it: their clips are named by whole numbers alone.
RECORD_1 = RECORD.set(RECORD.get_field_index("clip"), pa.field("clip", pa.int64(), nullable=False))

# The column that says by which adaptation the visual bits of a weighted code were made, by its
# number (`codes.visual_maps.Adaptation.number`); 0 for those that were trained.
ADAPTATION = pa.field("adaptation", pa.int64(), nullable=False)


def code_column(focus: int) -> str:
    """Names the column of the stored codes of a focus."""
    return f"code_{focus}"
