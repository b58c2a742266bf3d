"""Colours of a frame: against pixels counted one by one, and what must not change them."""

import colorsys
import hashlib
import io
import time

import numpy as np
import pytest
from PIL import Image

from stvh_jax.models import colour
from stvh_jax.models.colour import CHANNELS, FRAME_SIZE, clip_colours, colour_features, colour_maps

HEIGHT, WIDTH = FRAME_SIZE
RED, GREEN, BLUE, GREY = (210, 30, 30), (30, 190, 60), (40, 60, 200), (120, 120, 120)


def drawn_boxes(rng, people):
    low = rng.uniform(-0.05, 0.85, (people, 2))
    return np.concatenate([low, low + rng.uniform(0.02, 0.35, low.shape)], 1).astype(np.float32)


def drawn_frame(rng, size=FRAME_SIZE):
    small = rng.integers(0, 256, (18, 32, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))


def spread(value, count):
    place = min(max(value, 0.0), 1.0) * (count - 1)
    lower = min(int(place), count - 2)
    return {lower: 1 - (place - lower), lower + 1: place - lower}


def pixels_of(image):
    return list(zip(*[iter(image.tobytes())] * 3))


def by_hand(frame, boxes):
    """Counts pixels one by one, with PIL and colorsys."""
    gain = 96 / (sum(Image.fromarray(frame).tobytes()) / (3 * WIDTH * HEIGHT))

    def shares(pixels):
        found = np.zeros(52)
        for pixel in pixels:
            red, green, blue = ((int(min(255, c * gain)) // 16 + 0.5) / 16 for c in pixel)
            hue, _, light = colorsys.rgb_to_hsv(red, green, blue)
            chroma = max(red, green, blue) - min(red, green, blue)
            lower = int(hue * 12)
            hues = {lower % 12: 1 - (hue * 12 - lower), (lower + 1) % 12: hue * 12 - lower}
            for strength, a in spread(chroma / max(light, 0.25) / 0.6, 3).items():
                if not strength:
                    for grey, b in spread(light, 4).items():
                        found[48 + grey] += a * b
                    continue
                for lightness, b in spread(light, 2).items():
                    for number, c in hues.items():
                        found[number * 4 + (strength - 1) * 2 + lightness] += a * b * c
        return found / max(1, len(pixels))

    def cut(top, left, bottom, right):
        top, left = min(max(int(np.floor(top * HEIGHT)), 0), 179), max(np.floor(left * WIDTH), 0)
        left = min(int(left), 319)
        bottom = min(max(int(np.ceil(bottom * HEIGHT)), top + 1), HEIGHT)
        right = min(max(int(np.ceil(right * WIDTH)), left + 1), WIDTH)
        return left, top, right, bottom

    image, covered = Image.fromarray(frame), Image.new("L", (WIDTH, HEIGHT))
    shirts, trousers = [], []
    for top, left, bottom, right in boxes.astype(float):
        covered.paste(1, cut(top, left, bottom, right))
        height, width = bottom - top, right - left
        for part, (above, below) in ((shirts, (0.15, 0.5)), (trousers, (0.5, 0.8))):
            corners = cut(top + above * height, left + width / 4,
                          top + below * height, right - width / 4)  # fmt: skip
            part.append(np.sqrt(shares(pixels_of(image.crop(corners)))))
    pixels = list(zip(pixels_of(image), covered.tobytes()))
    half = len(pixels) // 2
    halves = [[p for p, c in part if not c] for part in (pixels[:half], pixels[half:])]
    blocks = [np.mean(shirts, 0), np.mean(trousers, 0), *(np.sqrt(shares(h)) for h in halves)]
    return np.concatenate([block - block.mean() for block in blocks])


def test_colours_are_those_of_pixels_counted_one_by_one():
    rng = np.random.default_rng(0)
    frame, boxes = drawn_frame(rng), drawn_boxes(rng, 4)
    np.testing.assert_allclose(colour_features(frame, boxes), by_hand(frame, boxes), atol=2e-4)


@pytest.mark.parametrize("seed", range(5))
def test_order_and_padding_of_people_change_nothing(seed):
    rng = np.random.default_rng(seed)
    frame, boxes = drawn_frame(rng, (90, 200)), drawn_boxes(rng, 7)
    found = colour_features(frame, boxes)
    assert found.shape == (CHANNELS,) and found.dtype == np.float32
    order = rng.permutation(10)
    nobody = np.float32([[np.nan] * 4, [np.inf, -1, 5, 0], [0, 0, 1, 1]])
    padded, mask = np.concatenate([boxes, nobody])[order], (np.arange(10) < 7)[order]
    np.testing.assert_allclose(colour_features(frame, padded, mask), found, atol=1e-6)
    assert np.abs(colour_features(frame, boxes[:6]) - found).max() > 1e-3


def test_the_hall_has_no_pixel_of_people_and_people_none_of_the_hall():
    rng = np.random.default_rng(1)
    frame = np.full((*FRAME_SIZE, 3), GREY, np.uint8)
    boxes = np.float32([[0.2, 0.1, 0.6, 0.3], [0.4, 0.6, 0.9, 0.8]])
    people, hall = np.split(colour_features(frame, boxes), 2)
    painted = frame.copy()
    # Of one mean with the grey, so that the light of the whole stays the same.
    painted[36:108, 32:96] = np.where(rng.random((72, 64, 1)) < 0.5, (180, 90, 90), (60, 150, 150))
    other_people, same_hall = np.split(colour_features(painted, boxes), 2)
    np.testing.assert_allclose(same_hall, hall, atol=1e-3)
    assert np.abs(other_people - people).max() > 0.05
    painted = frame.copy()
    painted[:36], painted[165:] = (200, 80, 80), (80, 140, 140)
    same_people, other_hall = np.split(colour_features(painted, boxes), 2)
    np.testing.assert_allclose(same_people, people, atol=1e-3)
    assert np.abs(other_hall - hall).max() > 0.05


def match_frame(shirts, floor, gain=1.0, seed=0):
    """Draws a match: a floor, a dark hall, and twelve people somewhere, of two teams."""
    rng = np.random.default_rng(seed)
    frame = np.full((*FRAME_SIZE, 3), 50.0)
    frame[80:] = floor
    low = np.stack([rng.uniform(0.35, 0.7, 12), rng.uniform(0.02, 0.9, 12)], 1)
    boxes = np.concatenate([low, low + [0.25, 0.06]], 1).astype(np.float32)
    for person, (top, left, bottom, right) in enumerate(boxes * [HEIGHT, WIDTH, HEIGHT, WIDTH]):
        frame[int(top) : int(bottom), int(left) : int(right)] = shirts[person % 2]
    frame = frame * gain + rng.normal(0, 4, frame.shape)
    return np.clip(frame, 0, 255).astype(np.uint8), boxes


def codes_of(*clips, bits=64):
    return np.array([colour_features(*clip) for clip in clips]) @ colour_maps(bits).projection >= 0


def test_the_same_teams_are_nearer_than_others_in_any_light():
    teams = [((RED, BLUE), GREY), ((GREEN, BLUE), GREY), ((RED, BLUE), (200, 120, 60))]
    codes = codes_of(*(match_frame(*team, seed=seed) for team in teams for seed in range(5)))
    distances = (codes[:, None] != codes).mean(axis=-1)
    same = np.kron(np.eye(3, dtype=bool), np.ones((5, 5), bool))
    assert distances[same].max() < distances[~same].min()
    frame, boxes = match_frame(*teams[0])
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=50)
    dark, light = (match_frame(*teams[0], gain=gain) for gain in (0.8, 1.2))
    changed = codes_of(dark, light, (np.asarray(Image.open(buffer)), boxes))
    assert (changed != codes[0]).mean(axis=1).max() < distances[~same].min() / 2


def test_nobody_a_black_frame_and_one_full_of_people():
    black, nobody = np.zeros((2, 2, 3), np.uint8), np.zeros((0, 4), np.float32)
    found = colour_features(black, nobody)
    assert np.isfinite(found).all() and not found[: CHANNELS // 2].any()
    full = colour_features(black, np.float32([[0, 0, 1, 1]]))
    assert np.isfinite(full).all() and not full[CHANNELS // 2 :].any()


def test_clips_are_their_middle_frames():
    rng = np.random.default_rng(2)
    frames = np.stack([[drawn_frame(rng, (30, 40)) for _ in range(4)] for _ in range(2)])
    boxes = np.stack([[drawn_boxes(rng, 3) for _ in range(4)] for _ in range(2)])
    mask = np.array([[True, True, False], [True, False, True]])
    found = clip_colours(frames, boxes, mask)
    assert found.shape == (2, 1, CHANNELS)
    for clip in range(2):
        expected = colour_features(frames[clip, 2], boxes[clip, 2], mask[clip])
        np.testing.assert_array_equal(found[clip, 0], expected)
    np.testing.assert_array_equal(clip_colours(frames[:, 2:3], boxes, mask), found)


@pytest.mark.parametrize("bits", [8, 64, 256])
def test_directions_are_the_same_for_everybody(bits):
    maps = colour_maps(bits)
    assert maps.projection.shape == (CHANNELS, bits) and not maps.offset.any()
    np.testing.assert_array_equal(maps.projection, colour_maps(bits).projection)
    # They are kept nowhere: an index of today is searched tomorrow.
    if bits == 64:
        signs = np.packbits(maps.projection > 0)
        assert hashlib.sha256(signs.tobytes()).hexdigest()[:12] == "8aea4d41a6ca"
    assert (np.abs(maps.projection) == 1).all()


def test_it_takes_few_milliseconds():
    rng = np.random.default_rng(3)
    frame, boxes = drawn_frame(rng), drawn_boxes(rng, 12)
    colour_features(frame, boxes)
    taken = []
    for _ in range(20):
        begun = time.perf_counter()
        colour_features(frame, boxes)
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 5e-3
    assert colour.CHANNELS == 208
