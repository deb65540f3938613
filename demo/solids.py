"""Shaded solids (box, ball, cone, cylinder) painted into a picture, with their exact masks.

A solid lives in its own space: x right, y up, z towards the viewer, all extents at most 1. It is
projected orthographically and lit by one distant light (Lambert's law).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

CLASS_NAMES = ('box', 'ball', 'cone', 'cylinder')
BOX, BALL, CONE, CYLINDER = range(4)

_SUPERSAMPLE = 2
_ROUND_FACETS = 28
_SUBPIXEL_BITS = 4


class Facet(NamedTuple):
    """One flat face: `corners` (k, 3) in order around it, `normal` (3,) of unit length."""

    corners: np.ndarray
    normal: np.ndarray


@dataclass(frozen=True)
class Solid:
    """Shape, pose and surface of one solid.

    `extent` is the half edge lengths of a box, (radius, half height, unused) of a cone or
    cylinder, (radius, unused, unused) of a ball. Angles are in radians. `colour_bgr` is 0..255,
    `light` a unit vector towards the light, `texture` a float factor image or None.
    """

    class_id: int
    extent: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    colour_bgr: tuple[float, float, float]
    light: np.ndarray
    ambient: float
    gloss: float
    texture: np.ndarray | None = None


class Patch(NamedTuple):
    """A painted solid: `bgr` float32 (h, w, 3) times coverage, `alpha` float32 (h, w) in 0..1."""

    x: int
    y: int
    bgr: np.ndarray
    alpha: np.ndarray


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Give the matrix that turns about y, then x, then z; a positive pitch shows the top."""
    cy, sy = np.cos(yaw), np.sin(yaw)
    cx, sx = np.cos(pitch), np.sin(pitch)
    cz, sz = np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def _box_facets(extent: tuple[float, float, float]) -> list[Facet]:
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    facets = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            corners = np.insert(square, axis, side, axis=1)
            facets.append(Facet(corners * extent, np.eye(3)[axis] * side))
    return facets


def _circle(radius: float, height: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, _ROUND_FACETS, endpoint=False)
    level = np.full_like(angle, height)
    return np.stack([radius * np.cos(angle), level, radius * np.sin(angle)], axis=1)


def _side_normals(slope: float) -> np.ndarray:
    """Give the unit normals of the side facets; `slope` is their rise towards +y."""
    angle = (np.arange(_ROUND_FACETS) + 0.5) * 2 * np.pi / _ROUND_FACETS
    normals = np.stack([np.cos(angle), np.full_like(angle, slope), np.sin(angle)], axis=1)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _cylinder_facets(radius: float, half_height: float) -> list[Facet]:
    low, high = _circle(radius, -half_height), _circle(radius, half_height)
    low_next, high_next = np.roll(low, -1, axis=0), np.roll(high, -1, axis=0)
    quads = np.stack([low, low_next, high_next, high], axis=1)
    side = [Facet(*pair) for pair in zip(quads, _side_normals(0.0))]
    caps = [Facet(high, np.array([0.0, 1, 0])), Facet(low, np.array([0.0, -1, 0]))]
    return side + caps


def _cone_facets(radius: float, half_height: float) -> list[Facet]:
    low = _circle(radius, -half_height)
    apex = np.broadcast_to([0.0, half_height, 0], low.shape)
    triangles = np.stack([low, np.roll(low, -1, axis=0), apex], axis=1)
    side = [Facet(*pair) for pair in zip(triangles, _side_normals(radius / (2 * half_height)))]
    return [*side, Facet(low, np.array([0.0, -1, 0]))]


def _facets(solid: Solid) -> list[Facet]:
    if solid.class_id == BOX:
        return _box_facets(solid.extent)
    build = _cone_facets if solid.class_id == CONE else _cylinder_facets
    return build(*solid.extent[:2])


def _lambert(solid: Solid, cosine: np.ndarray) -> np.ndarray:
    return solid.ambient + (1 - solid.ambient) * np.clip(cosine, 0, 1)


def _shade_facets(solid: Solid, centre: np.ndarray, scale: float, shape: tuple[int, int]
                  ) -> tuple[np.ndarray, np.ndarray]:
    """Give brightness and coverage, float32 of `shape`; a convex solid needs no depth sort."""
    turn = rotation(solid.yaw, solid.pitch, solid.roll)
    shade, cover = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for corners, normal in _facets(solid):
        towards = turn @ normal
        if towards[2] <= 0:
            continue
        points = centre + (corners @ turn.T)[:, :2] * (scale, -scale)
        fixed = np.round(points * 2 ** _SUBPIXEL_BITS).astype(np.int32)
        brightness = float(_lambert(solid, towards @ solid.light))
        cv2.fillConvexPoly(shade, fixed, brightness, shift=_SUBPIXEL_BITS)
        cv2.fillConvexPoly(cover, fixed, 1.0, shift=_SUBPIXEL_BITS)
    return shade, cover


def _shade_ball(solid: Solid, centre: np.ndarray, scale: float, shape: tuple[int, int]
                ) -> tuple[np.ndarray, np.ndarray]:
    radius = solid.extent[0] * scale
    rows, columns = np.mgrid[:shape[0], :shape[1]].astype(np.float32)
    x, y = (columns - centre[0]) / radius, (centre[1] - rows) / radius
    inside = 1 - x * x - y * y
    cosine = x * solid.light[0] + y * solid.light[1]
    cosine += np.sqrt(np.clip(inside, 0, 1)) * solid.light[2]
    shade = _lambert(solid, cosine) + solid.gloss * np.clip(cosine, 0, 1) ** 30
    cover = (inside > 0).astype(np.float32)
    return shade * cover, cover


def paint(solid: Solid, centre_xy: tuple[float, float], radius: float) -> Patch:
    """Paint a solid as a patch of the picture.

    `centre_xy` and `radius` (the length of 1 in the solid's space) are in picture pixels.
    """
    reach = int(np.ceil(radius * np.sqrt(3))) + 2
    x, y = int(centre_xy[0]) - reach, int(centre_xy[1]) - reach
    side = 2 * reach * _SUPERSAMPLE
    centre = (np.array(centre_xy) - (x, y)) * _SUPERSAMPLE
    shade_solid = _shade_ball if solid.class_id == BALL else _shade_facets
    shade, cover = shade_solid(solid, centre, radius * _SUPERSAMPLE, (side, side))
    size_wh = (2 * reach, 2 * reach)
    shade, alpha = (cv2.resize(a, size_wh, interpolation=cv2.INTER_AREA) for a in (shade, cover))
    if solid.texture is not None:
        shade *= cv2.resize(solid.texture, size_wh, interpolation=cv2.INTER_LINEAR)
    return Patch(x, y, shade[..., None] * np.float32(solid.colour_bgr), alpha)


def paste(picture: np.ndarray, patch: Patch) -> np.ndarray:
    """Blend a patch into a float32 BGR picture in place; give its uint8 0/1 mask, (h, w)."""
    height, width = picture.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    left, top = max(patch.x, 0), max(patch.y, 0)
    right = min(patch.x + patch.alpha.shape[1], width)
    bottom = min(patch.y + patch.alpha.shape[0], height)
    if left >= right or top >= bottom:
        return mask
    inner = np.s_[top - patch.y:bottom - patch.y, left - patch.x:right - patch.x]
    alpha = patch.alpha[inner]
    region = picture[top:bottom, left:right]
    region[:] = region * (1 - alpha[..., None]) + patch.bgr[inner]
    mask[top:bottom, left:right] = alpha >= 0.5
    return mask
