"""What surrounds the objects of a synthetic picture: backgrounds, textures, clutter, shadows."""
from __future__ import annotations

import cv2
import numpy as np


def _smooth_noise(rng: np.random.Generator, cells: int, size_wh: tuple[int, int],
                  channels: int) -> np.ndarray:
    coarse = rng.normal(0, 1, (cells, cells, channels)).astype(np.float32)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC)


def texture(rng: np.random.Generator, size_wh: tuple[int, int]) -> np.ndarray:
    """Give a factor image (h, w) float32 in about 0.4..1: stripes, checks, dots or clouds."""
    width, height = size_wh
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 40)
    u = (x * np.cos(angle) + y * np.sin(angle)) / period
    v = (y * np.cos(angle) - x * np.sin(angle)) / period
    kind = rng.integers(4)
    if kind == 0:
        pattern = np.floor(u) % 2
    elif kind == 1:
        pattern = (np.floor(u) + np.floor(v)) % 2
    elif kind == 2:
        pattern = np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3
    else:
        cells = max(2, int(max(size_wh) / period))
        pattern = np.clip(0.5 + 0.3 * _smooth_noise(rng, cells, size_wh, 1), 0, 1)
    return 1 - np.float32(rng.uniform(0.15, 0.6)) * np.asarray(pattern, np.float32)


def _clutter(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Draw one thin thing that is no object: a line, an open arc or a zigzag."""
    height, width = picture.shape[:2]
    points = (rng.random((5, 2)) * (width, height)).astype(np.int32)
    colour, thickness = rng.uniform(0, 255, 3).tolist(), int(rng.integers(1, 8))
    kind = rng.integers(3)
    if kind == 0:
        cv2.line(picture, points[0].tolist(), points[1].tolist(), colour, thickness)
    elif kind == 1:
        axes = rng.integers(10, max(11, width // 3), 2).tolist()
        start = float(rng.uniform(0, 360))
        cv2.ellipse(picture, points[0].tolist(), axes, start, 0, float(rng.uniform(30, 240)),
                    colour, thickness)
    else:
        cv2.polylines(picture, [points], False, colour, thickness)


def random_background(rng: np.random.Generator, size_wh: tuple[int, int]) -> np.ndarray:
    """Give a busy float32 BGR picture (h, w, 3) without any object."""
    width, height = size_wh
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    top, bottom = rng.uniform(20, 235, (2, 3)).astype(np.float32)
    picture = np.repeat(top * (1 - ramp) + bottom * ramp, width, axis=1)
    for cells in rng.choice([3, 6, 12, 40], rng.integers(1, 4), replace=False):
        picture += rng.uniform(8, 40) * _smooth_noise(rng, cells, size_wh, 3)
    if rng.random() < 0.4:
        picture *= texture(rng, size_wh)[..., None]
    if rng.random() < 0.4:
        horizon = int(rng.uniform(0.25, 0.8) * height)
        picture[horizon:] *= rng.uniform(0.5, 1.3)
    picture = np.ascontiguousarray(np.clip(picture, 0, 255), np.float32)
    for _ in range(rng.integers(0, 7)):
        _clutter(rng, picture)
    return picture


def draw_shadow(picture: np.ndarray, centre_xy: tuple[float, float], radius: float,
            strength: float) -> None:
    """Darken a soft ellipse under a solid, in place."""
    cover = np.zeros(picture.shape[:2], np.float32)
    below = (int(centre_xy[0]), int(centre_xy[1] + 0.8 * radius))
    axes = (max(1, int(0.95 * radius)), max(1, int(0.3 * radius)))
    cv2.ellipse(cover, below, axes, 0, 0, 360, 1.0, -1)
    cover = cv2.GaussianBlur(cover, (0, 0), max(1.0, 0.12 * radius))
    picture *= 1 - strength * cover[..., None]


def _planks(height: int, width: int) -> np.ndarray:
    """Give brightness factors (h, w) of a table's boards that run towards a vanishing point."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    across = (x - width / 2) / (y + 0.9 * height) * 7
    tone = 0.04 * np.sin(12.9898 * np.floor(across))
    joint = np.abs(across - np.round(across)) < 0.03
    return (1 + tone - 0.18 * joint + 0.15 * y / height).astype(np.float32)


def wall_and_table(size_wh: tuple[int, int]) -> np.ndarray:
    """Give a quiet float32 BGR picture (h, w, 3): a wall above a wooden table."""
    width, height = size_wh
    edge = int(0.3 * height)
    picture = np.empty((height, width, 3), np.float32)
    ramp = np.linspace(0.8, 1.05, edge, dtype=np.float32)[:, None, None]
    picture[:edge] = np.float32([148, 140, 120]) * ramp
    planks = _planks(height - edge, width)
    picture[edge:] = np.float32([96, 136, 172]) * planks[..., None]
    picture[edge:edge + 3] *= 0.6
    return cv2.GaussianBlur(picture, (0, 0), 0.8)
