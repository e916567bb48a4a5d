"""The normal chest of a phantom patient: shapes on a coordinate grid, as attenuation maps.

Everything is drawn with soft edges directly at the target size, and with additions, multiplications, divisions and square roots
only: these are exact by the floating-point standard, so the 8-bit image is the same on every machine, which exponentials and
trigonometric functions of numpy are not.

Coordinates: `u` runs from -1 (image left: the patient's right) to 1, `v` from -1 (top) to 1. Sides are the patient's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .random_stream import RandomStream


Array = np.ndarray
StreamFor = Callable[[str], RandomStream]  # purpose -> stream


@dataclass(frozen=True)
class Shape:
    """A patient's own build, the same at each visit. Lengths are factors of, or offsets in, the unit coordinates."""

    width: float
    height: float
    heart_offset: float
    heart_tilt: float
    heart_ratio: float  # cardiothoracic ratio of the normal heart in a PA film
    right_dome: float
    left_dome: float
    rib_phase: float
    rib_spacing: float
    rib_slope: float
    tissue: float  # thickness of soft tissue
    vessels: tuple[tuple[float, float, float], ...]  # direction, length, thickness
    opacity_place: dict[str, tuple[float, float]]  # where a consolidation of each side would lie
    stomach: float

    @classmethod
    def draw(cls, stream: RandomStream) -> "Shape":
        between = stream.uniform
        return cls(
            width=between(0.94, 1.06),
            height=between(0.95, 1.04),
            heart_offset=between(0.08, 0.13),
            heart_tilt=between(0.85, 1.15),
            heart_ratio=between(0.40, 0.45),
            right_dome=between(0.40, 0.46),
            left_dome=between(0.45, 0.51),
            rib_phase=between(0.0, 1.0),
            rib_spacing=between(0.150, 0.175),
            rib_slope=between(0.35, 0.6),
            tissue=between(0.46, 0.56),
            vessels=tuple((between(-1.0, 1.0), between(0.6, 1.0), between(0.008, 0.018)) for _ in range(12)),
            opacity_place={side: (between(0.40, 0.50), between(-0.34, -0.12)) for side in ("right", "left")},
            stomach=between(0.0, 1.0),
        )


def soft(distance: Array, width: float) -> Array:
    """0 outside, 1 inside, a smooth step of `width` on each side of distance 0 (positive inside)."""
    t = distance * np.float32(0.5 / width)
    t += np.float32(0.5)
    np.minimum(t, np.float32(1.0), out=t)
    np.maximum(t, np.float32(0.0), out=t)
    slope = t * np.float32(-2.0)
    slope += np.float32(3.0)
    t *= t
    t *= slope
    return t


def segment_distance(u: Array, v: Array, start: tuple[float, float], end: tuple[float, float]) -> Array:
    """Distance of each grid point from a line segment."""
    du, dv = end[0] - start[0], end[1] - start[1]
    t = np.clip(((u - start[0]) * du + (v - start[1]) * dv) / (du * du + dv * dv), 0.0, 1.0)
    pu, pv = u - (start[0] + t * du), v - (start[1] + t * dv)
    return np.sqrt(pu * pu + pv * pv)


def window(size: int, u: tuple[float, float], v: tuple[float, float], margin: float = 0.0) -> tuple[slice, slice]:
    """The pixels that can lie in a box of patient coordinates, however the patient is rotated, shifted and scaled.

    At the borders of the film these move a point by 0.2 at most. Drawing small things on their window alone is several times
    faster and gives the same image.
    """
    slices = []
    for low, high in (v, u):
        first = int((low - margin + 0.78) * size / 2)
        last = int((high + margin + 1.22) * size / 2) + 1
        slices.append(slice(max(first, 0), max(min(last, size), 0)))
    return slices[0], slices[1]


def _ordered(a: float, b: float) -> tuple[float, float]:
    return (a, b) if a <= b else (b, a)


def polyline(u: Array, v: Array, points: list[tuple[float, float]], thickness: float, edge: float) -> Array:
    """Coverage of a line through `points`, at least one pixel wide."""
    total = np.zeros_like(u + v if u.shape != v.shape else u)
    for start, end in zip(points[:-1], points[1:], strict=True):
        part = window(total.shape[0], _ordered(start[0], end[0]), _ordered(start[1], end[1]), thickness + edge)
        line = soft(thickness - segment_distance(u[part], v[part], start, end), edge)
        np.maximum(total[part], line, out=total[part])
    return total


def ellipse(u: Array, v: Array, centre: tuple[float, float], radii: tuple[float, float], edge: float) -> Array:
    """Coverage of an axis-parallel ellipse."""
    x, y = (u - centre[0]) / radii[0], (v - centre[1]) / radii[1]
    return soft((1.0 - np.sqrt(x * x + y * y)) * min(radii), edge)


def small_ellipse(u: Array, v: Array, centre: tuple[float, float], radii: tuple[float, float], edge: float) -> Array:
    """The same, drawn on its window only."""
    total = np.zeros_like(u)
    across, down = (centre[0] - radii[0], centre[0] + radii[0]), (centre[1] - radii[1], centre[1] + radii[1])
    part = window(total.shape[0], across, down, 2 * edge)
    total[part] = ellipse(u[part], v[part], centre, radii, edge)
    return total


def smooth_texture(stream: RandomStream, size: int, cells: int) -> Array:
    """Smooth random texture in about [-1, 1]: coarse noise, interpolated linearly and smoothed."""
    coarse = stream.noise(cells + 1, cells + 1)
    place = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / size)
    low = np.minimum(place.astype(np.int64), cells - 1)
    t = place - low.astype(np.float32)
    t = t * t * (3.0 - 2.0 * t)
    rows = coarse[low] * (1.0 - t)[:, None] + coarse[low + 1] * t[:, None]
    return rows[:, low] * (1.0 - t)[None, :] + rows[:, low + 1] * t[None, :]


class FrontalChest:
    """The anatomy of one frontal film on its grid: masks (`lungs`, `heart`, ...) and boundary functions the findings build on.

    Args:
        u, v (`np.ndarray` of shape `(size, size)`): patient coordinates of each pixel.
        shape (`Shape`): the patient.
        heart_ratio (`float`): cardiothoracic ratio on this film, findings and magnification included.
        inspiration (`float`): -1 to 1; how deep the diaphragm stands.
        edge (`float`): half width of an edge in coordinates: about one pixel.
    """

    def __init__(self, u: Array, v: Array, shape: Shape, heart_ratio: float, inspiration: float, edge: float):
        self.u, self.v, self.shape, self.edge = u, v, shape, edge
        self.lateral = {"right": -u, "left": u}  # distance from the midline towards each side
        self.inner_width = 0.80 * shape.width
        self.heart_ratio = heart_ratio
        self.inspiration = inspiration
        self.lung_field = {side: self._lung_field(side) for side in ("right", "left")}
        self.diaphragm = {side: self._diaphragm(side) for side in ("right", "left")}
        # Lung down to the diaphragm, heart not yet taken away.
        self.thorax = {
            side: soft(self.lung_field[side], edge) * soft(self.diaphragm[side] - v, edge)
            for side in ("right", "left")
        }
        self.heart = self._heart()
        self.mediastinum = self._mediastinum()
        self.silhouette = np.maximum(self.heart, self.mediastinum)
        self.lungs = {side: self.thorax[side] * (1.0 - self.silhouette) for side in ("right", "left")}

    def _lung_field(self, side: str) -> Array:
        """Positive inside the outline of a lung that reaches through the diaphragm; about a distance near the edge."""
        shape, a = self.shape, self.lateral[side]
        x = (a - 0.41 * shape.width) / (0.39 * shape.width)
        y = (self.v - 0.12) / (0.92 * shape.height)
        x2, y2 = x * x, y * y
        # Square towards the wall, tapering to the apex.
        return (1.0 - np.sqrt(0.55 * x2 + 0.45 * x2 * x2 + y2)) * 0.39

    def _diaphragm(self, side: str) -> Array:
        """Height `v` of the dome over each pixel's column; it falls to the costophrenic angle."""
        dome = self.shape.right_dome if side == "right" else self.shape.left_dome
        x = (self.lateral[side] - 0.36) / 0.42
        return dome + 0.05 * self.inspiration + 0.17 * x * x

    def _heart(self) -> Array:
        shape = self.shape
        # The transverse diameter of the heart against that of the thorax.
        width = self.heart_ratio * self.inner_width * 2.0
        radius = 0.5 * width * 0.92
        centre = (shape.heart_offset + 0.10 * (self.heart_ratio - 0.42), 0.24 + 0.05 * self.inspiration)
        height = (0.30 + 0.22 * (self.heart_ratio - 0.42)) * shape.heart_tilt
        u = self.u + 0.28 * (self.v - centre[1])  # the axis leans to the left and down
        left = ellipse(u, self.v, (centre[0], centre[1]), (radius, height), 1.5 * self.edge)
        right = ellipse(self.u, self.v, (-0.22 * width, centre[1]), (0.28 * width, 0.8 * height), 1.5 * self.edge)
        return np.maximum(left, right)

    def _mediastinum(self) -> Array:
        v = self.v
        half = 0.105 + 0.05 * soft(-0.45 - v, 0.2) + 0.03 * soft(v - 0.05, 0.2)
        band = soft(half - np.abs(self.u - 0.01), 1.5 * self.edge)
        knob = small_ellipse(self.u, v, (0.065, -0.31), (0.115, 0.11), 1.5 * self.edge)
        pulmonary = small_ellipse(self.u, v, (0.08, -0.09), (0.125, 0.13), 2.0 * self.edge)
        return np.maximum(np.maximum(band, knob), 0.85 * pulmonary)

    def body(self) -> Array:
        u, v = np.abs(self.u), self.v
        shoulders = 0.26 + 0.95 * soft(v + 0.80, 0.18)
        trunk = 1.02 * self.shape.width + 0.5 * soft(-0.35 - v, 0.3)
        return soft(np.minimum(shoulders, trunk) - u, 0.03)

    def skeleton(self, blade: float) -> Array:
        """Attenuation of ribs, clavicles, spine and shoulder blades, whose inner edges lie at `blade` from the midline."""
        shape, u, v = self.shape, np.abs(self.u), self.v
        cage = soft(0.88 * shape.width - u, 0.04) * soft(v + 0.86, 0.05)
        # Dorsal ribs run outwards and down, ventral ones come back inwards and down. The triangle wave is a periodic distance.
        dorsal = self._stripes((v - shape.rib_slope * u * u + 0.12 * u) / shape.rib_spacing + shape.rib_phase, 0.17)
        ventral = self._stripes((v + 0.75 * u - 0.30 * u * u) / (1.15 * shape.rib_spacing) + shape.rib_phase, 0.15)
        low = soft(0.62 - v, 0.2)
        ribs = cage * low * (0.075 * dorsal * soft(u - 0.06, 0.04) + 0.04 * ventral * soft(u - 0.34, 0.15))
        clavicle = np.maximum(
            polyline(self.u, v, [(-0.09, -0.60), (-0.40, -0.66), (-0.80, -0.80)], 0.030, self.edge),
            polyline(self.u, v, [(0.09, -0.60), (0.40, -0.66), (0.80, -0.80)], 0.030, self.edge),
        )
        blades = polyline(u, v, [(blade - 0.06, -0.62), (blade, -0.20), (blade - 0.10, -0.02)], 0.02, 0.05)
        vertebrae = self._stripes(v / 0.13 + shape.rib_phase, 0.36)
        spine = soft(0.085 - u, 0.02) * (0.035 + 0.025 * vertebrae)
        return ribs + 0.10 * clavicle + 0.045 * blades + spine

    @staticmethod
    def _stripes(phase: Array, half_width: float) -> Array:
        distance = np.abs(phase - np.floor(phase) - 0.5)
        return soft(half_width - distance, 0.12)

    def airway(self) -> Array:
        """Trachea and main bronchi: a lucent band that ends in the carina at `v` = -0.28."""
        trachea = soft(0.038 - np.abs(self.u - 0.005), 0.02) * soft(-0.28 - self.v, 0.03)
        bronchi = np.maximum(
            polyline(self.u, self.v, [(0.0, -0.29), (-0.16, -0.12)], 0.022, 0.02),
            polyline(self.u, self.v, [(0.0, -0.29), (0.20, -0.14)], 0.020, 0.02),
        )
        return np.maximum(trachea, 0.6 * bronchi)

    def vessels(self) -> Array:
        """Hilar shadows and branching vessels that thin out towards the periphery, before clipping to the lungs."""
        u, v, edge = self.u, self.v, self.edge
        lines = np.zeros_like(u)
        for number, (direction, length, thickness) in enumerate(self.shape.vessels):
            side = -1.0 if number % 2 else 1.0
            row = number // 2 - 2.5
            start = (side * (0.19 + 0.02 * direction), -0.07 + 0.045 * row)
            middle = (start[0] + side * 0.20 * length, start[1] + (0.17 * row + 0.10 * direction) * length)
            tips = [
                (middle[0] + side * 0.20 * length, middle[1] + (0.20 * row + 0.12 * direction + fork) * length)
                for fork in (-0.10, 0.12)
            ]
            for begin, end, width in (
                (start, middle, thickness),
                (middle, tips[0], 0.6 * thickness),
                (middle, tips[1], 0.5 * thickness),
            ):
                part = window(lines.shape[0], _ordered(begin[0], end[0]), _ordered(begin[1], end[1]), 0.04)
                distance = segment_distance(u[part], v[part], begin, end)
                away = np.clip(1.25 - (1 / 0.55) * np.abs(u[part] - start[0]), 0.0, 1.0)
                line = soft(width + 0.2 * edge - distance, edge + 0.006) * away
                np.maximum(lines[part], line, out=lines[part])
        hila = small_ellipse(u, v, (-0.20, -0.05), (0.085, 0.16), 0.07)
        hila = np.maximum(hila, small_ellipse(u, v, (0.21, -0.09), (0.080, 0.15), 0.07))
        return 0.45 * hila + 0.5 * lines

    def abdomen(self) -> Array:
        """Attenuation below the diaphragm, into which the heart's lower border fades, and the air in the stomach."""
        below = {side: soft(self.v - self.diaphragm[side], self.edge) for side in ("right", "left")}
        left_half = soft(self.u, 0.05)
        tissue = below["right"] * (1.0 - left_half) + below["left"] * left_half
        bubble = small_ellipse(
            self.u, self.v, (0.38, self.shape.left_dome + 0.17), (0.16, 0.06 + 0.04 * self.shape.stomach), 0.04
        )
        return np.maximum(0.10 * tissue, 0.115 * self.heart) - 0.12 * min(self.shape.stomach * 1.6, 1.0) * bubble


__all__ = ["FrontalChest", "Shape", "ellipse", "polyline", "small_ellipse", "smooth_texture", "soft"]


def patient_grid(size: int, stream: RandomStream, *, shift: float = 0.04) -> tuple[Array, Array]:
    """Patient coordinates of each pixel for a slightly rotated, shifted and scaled patient."""
    # Points of the unit circle without trigonometry; up to 5 degrees.
    t = stream.uniform(-0.042, 0.042)
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    scale = stream.uniform(0.96, 1.06)
    du, dv = stream.uniform(-shift, shift), stream.uniform(-shift, shift)
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2.0 / size) - np.float32(1.0)
    x, y = axis[None, :] * np.float32(scale) - np.float32(du), axis[:, None] * np.float32(scale) - np.float32(dv)
    c, s = np.float32(cosine), np.float32(sine)
    return x * c + y * s, y * c - x * s
