"""Synthetic streets for tests: drawn ones, empty ones, and ones with somebody in white."""

import dataclasses

import numpy as np
from PIL import Image

from data.synthetic import street, street_rendering
from data.synthetic.scene import generator

SIZE = (96, 144)


def sample(activity, seed=0, frames=80, **options):
    return street.sample_sequence(generator(seed), activity, frames=frames, **options)


def in_sight(sequence, frame):
    return [person for person in sequence.people if frame in person.frames]


# All but the hair.
WHITE = street_rendering.Clothes(*[(250, 250, 250)] * 4, hair=(250, 120, 30))


def blank_scene():
    """A grey street without anything in it, in even light."""
    look = street_rendering.sample_street_look(np.random.default_rng(0), 0.0)
    look = dataclasses.replace(look, blur=0.0, noise=0.0)
    scene = street_rendering.build_street(look, SIZE)
    backdrop = Image.new("RGB", scene.backdrop.size, (120, 120, 120))
    return dataclasses.replace(scene, backdrop=backdrop, light=np.ones((*SIZE, 3), np.float32))


def lone_person(action, gait, heading, place=(0.0, 6.2)):
    """Somebody in white, for one frame."""
    stride = street.GAITS[action].swing if action in street.GAITS else 0.1 * (action == "dancing")
    return street_rendering.Person(
        action=action,
        start=0,
        ground=np.array([place]),
        hop=np.zeros(1),
        heading=np.array([heading]),
        gait=np.array([gait]),
        stride=np.array([stride]),
        stature=1.0,
        clothes=WHITE,
    )


def sequence_of(*people):
    return street_rendering.StreetScene("na", people, np.array([[1.0, 0.0, 0.0]]))
