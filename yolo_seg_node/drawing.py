"""A picture with what was found in it, for people to look at."""

import colorsys
from functools import lru_cache
from typing import List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from .detections import Detections, Masks
from .labels import label_of

Colour = Tuple[int, int, int]

MASK_OPACITY = 0.4
FONT = cv2.FONT_HERSHEY_SIMPLEX
# OpenCV's font is about 22 pixels high at scale 1.
FONT_PIXELS = 22
GOLDEN_RATIO = 0.618034


class _Style(NamedTuple):
    """Sizes in pixels that suit a picture."""

    line: int
    font_scale: float
    font_line: int
    margin: int


@lru_cache(maxsize=None)
def class_colour(class_id: int) -> Colour:
    """Fixed B, G, R colour of a class; steps of the golden ratio keep neighbours apart."""
    hue = (0.58 + class_id * GOLDEN_RATIO) % 1
    saturation, value = ((0.85, 1.0), (0.6, 1.0), (0.9, 0.75))[class_id // 12 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(255 * blue), round(255 * green), round(255 * red))


def draw_overlay(bgr: np.ndarray, detections: Detections, names: Tuple[str, ...]) -> np.ndarray:
    """Draw masks, boxes, class names and scores over a picture.

    :param bgr: (h, w, 3) uint8 picture of size ``detections.image_wh``; it is not changed.
    :param names: class names; a class without a name shows its number.
    :return: new (h, w, 3) uint8 array.
    """
    canvas, style = bgr.copy(), _style(detections.image_wh)
    colours = [class_colour(class_id) for class_id in detections.class_id.tolist()]
    corners = _corner_pixels(detections.xyxy_image)
    # The best ones come last, so that they lie on top.
    order = range(len(detections) - 1, -1, -1)
    if detections.masks is not None:
        _draw_masks(canvas, detections.masks, order, colours, style)
    for i in order:
        cv2.rectangle(canvas, corners[i][:2], corners[i][2:], colours[i], style.line)
    for i in order:
        name = label_of(names, int(detections.class_id[i]))
        _draw_label(canvas, f'{name} {detections.score[i]:.2f}', corners[i], colours[i], style)
    return canvas


def _corner_pixels(xyxy_image: np.ndarray) -> List[Tuple[int, ...]]:
    """First and last pixel of each box; the right and lower edge of a box belong to it no more."""
    edges = np.rint(xyxy_image).astype(int)
    last = np.maximum(edges[:, 2:] - 1, edges[:, :2])
    return [tuple(corners) for corners in np.hstack([edges[:, :2], last]).tolist()]


def _style(size_wh: Tuple[int, int]) -> _Style:
    """Sizes for a picture; small pictures keep text that can just be read."""
    text_pixels = max(9.0, min(size_wh) / 34)
    return _Style(line=max(1, round(min(size_wh) / 360)), font_scale=text_pixels / FONT_PIXELS,
                  font_line=max(1, round(text_pixels / 12)), margin=max(2, round(text_pixels / 4)))


def _draw_masks(canvas: np.ndarray, masks: Masks, order: Sequence[int],
                colours: Sequence[Colour], style: _Style) -> None:
    for i in order:
        mask, (x, y) = _mask_in_image(masks, i, canvas.shape)
        if mask.size:
            region = canvas[y:y + mask.shape[0], x:x + mask.shape[1]]
            _tint(region, mask, colours[i])
            _draw_outline(region, mask, colours[i], style.line)


def _mask_in_image(masks: Masks, index: int,
                   shape: Tuple[int, ...]) -> Tuple[np.ndarray, Tuple[int, int]]:
    """Crop (h, w) uint8 of 0 and 1 in image pixels, and the pixel at which it starts."""
    crop, origin = masks.crops[index].astype(np.uint8), masks.origin_xy[index]
    scale = np.divide((shape[1], shape[0]), masks.size_wh)
    start = np.rint(origin * scale).astype(int)
    stop = np.rint((origin + crop.shape[::-1]) * scale).astype(int)
    width, height = (stop - start).tolist()
    if crop.size and (height, width) != crop.shape:
        crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR)
    return crop, tuple(start.tolist())


def _tint(region: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """Mix a colour into the masked pixels of a view."""
    tinted = cv2.addWeighted(region, 1 - MASK_OPACITY, np.full_like(region, colour),
                             MASK_OPACITY, 0)
    np.copyto(region, tinted, where=mask.astype(bool)[..., None])


def _draw_outline(region: np.ndarray, mask: np.ndarray, colour: Colour, line: int) -> None:
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # drawContours needs memory without gaps, which a view does not have.
    outlined = np.ascontiguousarray(region)
    cv2.drawContours(outlined, contours, -1, colour, line, cv2.LINE_AA)
    region[...] = outlined


def _draw_label(canvas: np.ndarray, text: str, corners: Tuple[int, ...], colour: Colour,
                style: _Style) -> None:
    """Write on a filled background above the box, or inside it at the picture's upper edge."""
    (width, height), base = cv2.getTextSize(text, FONT, style.font_scale, style.font_line)
    full_w, full_h = width + 2 * style.margin, height + base + style.margin
    left = max(0, min(corners[0], canvas.shape[1] - full_w))
    top = corners[1] - full_h if corners[1] >= full_h else max(0, corners[1])
    corner = (left + full_w - 1, top + full_h - 1)
    cv2.rectangle(canvas, (left, top), corner, colour, cv2.FILLED)
    place = (left + style.margin, top + height + style.margin // 2 + 1)
    cv2.putText(canvas, text, place, FONT, style.font_scale, _ink(colour), style.font_line,
                cv2.LINE_AA)


def _ink(colour: Colour) -> Colour:
    """Black or white, whichever can be read on the colour (luma of BT.601)."""
    luma = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)
