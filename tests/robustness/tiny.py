"""The config of the soak's trainings: a few steps on clips drawn at random."""

from tests.helpers.fakes import tiny_config


def get_config():
    """Returns the config."""
    config = tiny_config(epochs=1)
    config.optimizer.warmup_epochs = 0.0
    return config
