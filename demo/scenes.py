"""Synthetic instance-segmentation pictures, made with numpy and OpenCV alone.

`scene` gives the random pictures that the demo model is trained and measured on; `moving_scene`
gives the tidy moving scene of the sample bag. Both are the same for the same seed.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from backgrounds import draw_shadow, random_background, texture, wall_and_table
from solids import BALL, BOX, CONE, CYLINDER, Solid, paint, paste

Instances = list[tuple[int, np.ndarray]]

_MIN_VISIBLE_PIXELS = 60
_MIN_VISIBLE_SHARE = 0.25
_MAX_OBJECTS = 8


def box_of_mask(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Give the tight xyxy box of a mask (h, w), pixels, right and bottom edge exclusive."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _random_extent(rng: np.random.Generator, class_id: int) -> tuple[float, float, float]:
    if class_id == BOX:
        return tuple(rng.uniform(0.45, 1, 3))
    if class_id == BALL:
        return (0.85, 0.0, 0.0)
    return (rng.uniform(0.4, 0.75), rng.uniform(0.6, 1.05), 0.0)


def _random_light(rng: np.random.Generator) -> np.ndarray:
    """Give a unit vector that comes from the viewer's side and from above."""
    light = np.abs(rng.normal(0, 1, 3)) * (rng.choice([-1, 1]), 1, 1) + (0, 0, 1)
    return light / np.linalg.norm(light)


def _random_solid(rng: np.random.Generator) -> Solid:
    class_id = int(rng.integers(4))
    upright = rng.random() < 0.7
    return Solid(
        class_id=class_id,
        extent=_random_extent(rng, class_id),
        yaw=rng.uniform(0, 2 * np.pi),
        pitch=rng.uniform(0.1, 0.75),
        roll=rng.normal(0, 0.25) if upright else rng.uniform(-np.pi, np.pi),
        colour_bgr=tuple(rng.uniform(30, 255, 3)),
        light=_random_light(rng),
        ambient=rng.uniform(0.35, 0.6),
        gloss=rng.uniform(0, 0.5),
        texture=texture(rng, (96, 96)) if rng.random() < 0.45 else None)


def _hides_another(mask: np.ndarray, masks: list[np.ndarray], areas: list[int]) -> bool:
    """Tell whether the new mask leaves too little of an earlier object to be recognised."""
    return any((old > mask).sum() < max(_MIN_VISIBLE_PIXELS, _MIN_VISIBLE_SHARE * area)
               for old, area in zip(masks, areas))


def _place_objects(rng: np.random.Generator, picture: np.ndarray) -> Instances:
    """Paint random solids into the picture, later ones in front, none almost hidden."""
    height, width = picture.shape[:2]
    classes, masks, areas = [], [], []
    for _ in range(rng.integers(1, _MAX_OBJECTS)):
        solid = _random_solid(rng)
        centre = (rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.95) * height)
        radius = float(np.exp(rng.uniform(np.log(0.05), np.log(0.26)))) * min(width, height)
        shadow = rng.uniform(0, 0.5) if rng.random() < 0.4 else 0.0
        patch = paint(solid, centre, radius)
        mask = paste(picture.copy(), patch)
        if mask.sum() < _MIN_VISIBLE_PIXELS or _hides_another(mask, masks, areas):
            continue
        if shadow:
            draw_shadow(picture, centre, radius, shadow)
        paste(picture, patch)
        for old in masks:
            old[mask > 0] = 0
        classes.append(solid.class_id)
        masks.append(mask)
        areas.append(int(mask.sum()))
    return list(zip(classes, masks))


def _as_camera_sees(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Add blur, exposure and sensor noise; give uint8 BGR."""
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.2))
    noise = rng.normal(0, 1, picture.shape).astype(np.float32) * rng.uniform(0, 12)
    return np.clip(picture * rng.uniform(0.6, 1.25) + noise, 0, 255).astype(np.uint8)


def scene(seed: int, size: int | tuple[int, int]) -> tuple[np.ndarray, Instances]:
    """Make one random picture and its exact ground truth.

    `size` is the side of a square picture or (width, height), in pixels. Returns the picture,
    uint8 BGR (h, w, 3), and for each of the 0..7 objects its class id and its visible part, a
    uint8 0/1 mask (h, w); masks do not overlap.
    """
    rng = np.random.default_rng(seed)
    size_wh = (size, size) if isinstance(size, int) else size
    picture = random_background(rng, size_wh)
    instances = _place_objects(rng, picture)
    return _as_camera_sees(rng, picture), instances


class _Actor(NamedTuple):
    """One object of the moving scene; lengths are shares of the picture, `sway` is in radians."""

    class_id: int
    extent: tuple[float, float, float]
    colour_bgr: tuple[float, float, float]
    home_xy: tuple[float, float]
    swing_xy: tuple[float, float]
    radius: float
    sway: float


# Lanes and radii are such that no object ever hides another or leaves the picture.
_ACTORS = (
    _Actor(BOX, (0.8, 0.65, 0.7), (60, 150, 225), (0.20, 0.36), (0.05, 0.03), 0.15, 0.4),
    _Actor(CONE, (0.65, 0.95, 0), (40, 90, 240), (0.56, 0.33), (0.08, 0.02), 0.15, 0.0),
    _Actor(CYLINDER, (0.55, 0.85, 0), (190, 110, 50), (0.86, 0.36), (0.04, 0.04), 0.14, 0.0),
    _Actor(BALL, (0.85, 0, 0), (60, 60, 205), (0.29, 0.79), (0.15, 0.04), 0.14, 0.0),
    _Actor(BOX, (0.6, 0.75, 0.6), (110, 175, 80), (0.77, 0.77), (0.08, 0.03), 0.15, -0.4),
)
_TABLE_LIGHT = np.array([-0.5, 0.7, 0.6]) / np.linalg.norm([-0.5, 0.7, 0.6])
_SWING_SECS = 3.0
_SENSOR_NOISE = 1.0


def _pose(actor: _Actor, phase: float, time_secs: float, size_wh: tuple[int, int]
          ) -> tuple[Solid, tuple[float, float], float]:
    """Give the solid, its centre and its radius in pixels at a time."""
    angle = 2 * np.pi * (time_secs / _SWING_SECS + phase)
    share = np.array(actor.home_xy) + actor.swing_xy * np.array([np.sin(angle), np.cos(angle)])
    centre = tuple((share * size_wh).tolist())
    solid = Solid(actor.class_id, actor.extent, yaw=0.8 + actor.sway * np.sin(angle),
                  pitch=0.45, roll=0.0, colour_bgr=actor.colour_bgr, light=_TABLE_LIGHT,
                  ambient=0.42, gloss=0.35)
    return solid, centre, actor.radius * min(0.75 * size_wh[0], size_wh[1])


def moving_scene(seed: int, size_wh: tuple[int, int], times_secs: Sequence[float]
                 ) -> Iterator[tuple[np.ndarray, Instances]]:
    """Make the frames of a quiet scene: five well visible objects that move over a table.

    The seed sets where each object starts on its way, and the sensor noise. Yields for each of
    `times_secs` a uint8 BGR picture (h, w, 3) and the objects as `scene` gives them; the k-th
    object is the same one in all frames.
    """
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 1, len(_ACTORS))
    table = wall_and_table(size_wh)
    for time_secs in times_secs:
        picture, instances = table.copy(), []
        poses = [_pose(*pair, time_secs, size_wh) for pair in zip(_ACTORS, phases)]
        for _, centre, radius in poses:
            draw_shadow(picture, centre, radius, 0.45)
        for solid, centre, radius in poses:
            instances.append((solid.class_id, paste(picture, paint(solid, centre, radius))))
        noise = rng.normal(0, _SENSOR_NOISE, (*picture.shape[:2], 1))
        yield np.clip(picture + noise, 0, 255).astype(np.uint8), instances
