"""The config of the soak's trainings: a few steps on clips drawn at random."""

from tests.helpers.fakes import tiny_config


def get_config():
    """Returns the config."""
    return tiny_config()
