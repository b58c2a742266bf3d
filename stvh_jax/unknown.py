"""The number of what is not known, for those who import no JAX, too."""

# An unknown action or activity, and an unknown frame; losses and metrics leave unknown labels out.
UNKNOWN = -1

# The activities of a set of clips without labels: a single one, which no clip has.
NO_ACTIVITIES = ("unknown",)
