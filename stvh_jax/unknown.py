"""The number of what is not known, for those who import no JAX, too."""

# An unknown action or activity, and an unknown frame; losses and metrics leave unknown labels out.
UNKNOWN = -1
