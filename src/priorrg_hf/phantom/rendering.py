"""Draws a phantom visit as an 8-bit film: anatomy, findings, devices, then exposure, blur and noise.

The film is deterministic to the last bit on every machine (see `anatomy`). Findings are drawn from their continuous severity.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .anatomy import Array, FrontalChest, Shape, StreamFor, patient_grid, polyline, small_ellipse, smooth_texture, soft
from .cohort import Patient, Visit
from .facts import SIDES
from .lateral import attenuation_of_lateral
from .random_stream import RandomStream


MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 32, 2048

# Magnification of the heart in an AP film, where it lies farther from the detector.
AP_MAGNIFICATION = 1.12


# The shoulder blades are turned out of the lungs in a PA film, and lie over them in an AP film.
BLADES = {"PA": 0.84, "AP": 0.66}


@dataclass
class Film:
    """A rendered image.

    Args:
        pixels (`np.ndarray` of shape `(size, size)`, uint8): the film, bright where dense.
        coverage (`dict[str, np.ndarray]`): with `with_coverage=True`, how much each structure adds at each pixel (0 to 1,
            float32): the sites of the present findings, devices, `lungs`, `heart`.
    """

    pixels: np.ndarray
    coverage: dict[str, Array] = field(default_factory=dict)


def render_visit(
    patient: Patient, visit: int, *, view: str | None = None, image_size: int = 224, with_coverage: bool = False
) -> Film:
    """The film of a visit.

    Args:
        patient (`Patient`): the patient.
        visit (`int`): index of the visit.
        view (`str`, *optional*): `"PA"` or `"AP"` as the visit has it (the default), or `"LATERAL"`.
        image_size (`int`, defaults to 224): height and width in pixels, 32 to 2048.
        with_coverage (`bool`, defaults to `False`): return where each structure lies, too.
    """
    if not MIN_IMAGE_SIZE <= image_size <= MAX_IMAGE_SIZE:
        raise ValueError(f"image_size must be {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels, got {image_size}")
    entry = patient.visits[visit]
    view = entry.view if view is None else view
    shape = Shape.draw(patient.render_stream(None))
    stream_for = partial(patient.render_stream, visit, view)
    if view == "LATERAL":
        attenuation = attenuation_of_lateral(entry, shape, stream_for, image_size)
        return Film(_expose(attenuation, stream_for("exposure"), image_size))
    if view != entry.view:
        raise ValueError(f"this visit's frontal film is {entry.view}, not {view}")
    attenuation, coverage = _frontal(entry, shape, stream_for, image_size, with_coverage)
    return Film(_expose(attenuation, stream_for("exposure"), image_size), coverage)


def _frontal(
    visit: Visit, shape: Shape, stream_for: StreamFor, size: int, with_coverage: bool
) -> tuple[Array, dict[str, Array]]:
    stream = stream_for("pose")
    u, v = patient_grid(size, stream)
    inspiration = stream.uniform(-1.0, 0.3) if visit.view == "AP" else stream.uniform(-0.3, 1.0)
    chest = FrontalChest(u, v, shape, cardiothoracic_ratio(visit, shape), -inspiration, 2.0 / size)
    coverage: dict[str, Array] = {}

    both = chest.lungs["right"] + chest.lungs["left"]
    body = chest.body()
    attenuation = shape.tissue * body + 0.06 * chest.mediastinum * (1.0 - chest.heart)
    attenuation += chest.abdomen() * body + chest.skeleton(BLADES[visit.view]) - 0.07 * chest.airway()
    attenuation -= 0.36 * both

    markings = 0.16 * chest.vessels() + 0.012 * smooth_texture(stream_for("markings"), size, 28)
    aerated = dict(chest.lungs)  # where lung is left: pneumothorax takes some of it away
    for side in SIDES:
        value = visit.values.get(f"pneumothorax:{side}")
        if value is not None:
            free, line = _pneumothorax(chest, side, value)
            attenuation += 0.24 * line - 0.085 * free
            aerated[side] = aerated[side] * (1.0 - free)
            coverage[f"pneumothorax:{side}"] = free
    attenuation += markings * (aerated["right"] + aerated["left"])

    if "edema" in visit.values:
        haze = _edema(chest, stream_for("edema"), visit.values["edema"], size) * (aerated["right"] + aerated["left"])
        attenuation += haze
        coverage["edema"] = 3.0 * haze
    if "atelectasis" in visit.values:
        bands = _atelectasis(chest, visit.values, stream_for("atelectasis")) * (aerated["right"] + aerated["left"])
        attenuation += 0.28 * bands
        coverage["atelectasis"] = bands
    for side in SIDES:
        value = visit.values.get(f"consolidation:{side}")
        if value is not None:
            patch = _consolidation(chest, side, value, stream_for(f"consolidation:{side}"), size) * aerated[side]
            attenuation += 0.30 * patch
            coverage[f"consolidation:{side}"] = patch
        value = visit.values.get(f"effusion:{side}")
        if value is not None:
            fluid = _effusion(chest, side, value)
            # Fluid replaces lung: up to soft tissue, whatever lay there before.
            target = np.float32(shape.tissue + 0.07)
            attenuation += fluid * (np.maximum(target, attenuation) - attenuation)
            coverage[f"effusion:{side}"] = fluid
    attenuation = _devices(chest, visit.devices, attenuation, coverage)
    if with_coverage:
        coverage["lungs"] = aerated["right"] + aerated["left"]
        coverage["heart"] = chest.heart
        return attenuation, {name: np.clip(map_, 0.0, 1.0) for name, map_ in coverage.items()}
    return attenuation, {}


def cardiothoracic_ratio(visit: Visit, shape: Shape) -> float:
    """Width of the heart over that of the thorax, as it appears in the visit's frontal film."""
    ratio = shape.heart_ratio
    if "cardiomegaly" in visit.values:
        ratio = 0.49 + 0.17 * visit.values["cardiomegaly"] + 0.3 * (shape.heart_ratio - 0.425)
    return ratio * AP_MAGNIFICATION if visit.view == "AP" else ratio


def _effusion(chest: FrontalChest, side: str, value: float) -> Array:
    """Fluid with a meniscus: highest at the chest wall."""
    a = np.clip(chest.lateral[side] / chest.inner_width, 0.0, 1.0)
    base = chest.shape.right_dome if side == "right" else chest.shape.left_dome
    wall = base + 0.06 - 0.50 * value
    level = wall + (0.30 - 0.12 * value) * (1.0 - a) * (1.0 - a)
    # A little into the diaphragm, so that no seam shows between two dense things.
    field = soft(chest.lung_field[side], chest.edge) * soft(chest.diaphragm[side] - chest.v + 0.03, chest.edge)
    return field * soft(chest.v - level, 0.035)


def _consolidation(chest: FrontalChest, side: str, value: float, stream: RandomStream, size: int) -> Array:
    """A patchy opacity at the patient's own place in the mid zone."""
    a, v = chest.shape.opacity_place[side]
    sign = -1.0 if side == "right" else 1.0
    radius = 0.075 + 0.145 * value
    ragged = smooth_texture(stream, size, 9)
    x, y = (chest.u - sign * a) / radius, (chest.v - v) / (1.15 * radius)
    distance = (1.0 - np.sqrt(x * x + y * y) + 0.22 * ragged) * radius
    return soft(distance, 0.05) * (0.62 + 0.30 * value) * (1.0 + 0.15 * ragged)


def _atelectasis(chest: FrontalChest, values: dict[str, float], stream: RandomStream) -> Array:
    """Plate-like bands at both bases, above the fluid where there is some. Severity: how long, thick and many they are."""
    value = values["atelectasis"]
    total = np.zeros_like(chest.v)
    for side in SIDES:
        sign = -1.0 if side == "right" else 1.0
        dome = chest.shape.right_dome if side == "right" else chest.shape.left_dome
        base = dome - 0.11
        if f"effusion:{side}" in values:
            base = min(base, dome - 0.02 - 0.42 * values[f"effusion:{side}"])
        for number in range(1 + (value > 0.3) + (value > 0.58) + (value > 0.86)):
            tilt = stream.uniform(-0.06, 0.06)
            start = (sign * 0.28, base - 0.085 * number)
            end = (sign * (0.52 + 0.16 * value), base - 0.085 * number + tilt)
            line = polyline(chest.u, chest.v, [start, end], 0.015 + 0.009 * value, 1.3 * chest.edge + 0.006)
            total = np.maximum(total, line)
    return total


def _edema(chest: FrontalChest, stream: RandomStream, value: float, size: int) -> Array:
    """Haze around both hila with a reticular grain; attenuation, not coverage."""
    u, v = np.abs(chest.u), chest.v
    x, y = (u - 0.22) / (0.24 + 0.20 * value), (v - 0.02) / (0.36 + 0.26 * value)
    wings = np.clip(1.25 - np.sqrt(x * x + y * y), 0.0, 1.0)
    grain = smooth_texture(stream, size, 36)
    return (0.07 + 0.15 * value) * wings * (1.0 + 0.45 * grain)


def _pneumothorax(chest: FrontalChest, side: str, value: float) -> tuple[Array, Array]:
    """The air around a collapsed lung, without markings, and the thin pleural line that bounds the lung."""
    a, v, shape = chest.lateral[side], chest.v, chest.shape
    rim = 0.05 + 0.20 * value
    x = (a - (0.41 * shape.width - 0.5 * rim)) / (0.39 * shape.width - 0.5 * rim)
    y = (v - (0.16 + 0.6 * rim)) / (0.92 * shape.height - 0.75 * rim)
    x2 = x * x
    inside = (1.0 - np.sqrt(0.55 * x2 + 0.45 * x2 * x2 + y * y)) * (0.39 - 0.5 * rim)
    # Only above and beside the lung: at the mediastinum the lung stays where it is.
    open_side = soft(a - 0.20 + 0.5 * soft(-0.50 - v, 0.05), 0.06)
    free = soft(-inside, chest.edge) * open_side * chest.lungs[side]
    line = soft(0.9 * chest.edge - np.abs(inside), chest.edge) * open_side * chest.lungs[side]
    return free, line


def _devices(chest: FrontalChest, devices: dict[str, str], attenuation: Array, coverage: dict[str, Array]) -> Array:
    u, v, edge = chest.u, chest.v, chest.edge
    thin = max(0.006, 0.45 * edge)

    def draw(name: str, shape: Array, density: float) -> None:
        nonlocal attenuation
        attenuation = attenuation + density * shape
        coverage[name] = np.maximum(coverage[name], shape) if name in coverage else shape

    if "endotracheal_tube" in devices:
        tip = {"appropriate": -0.45, "low": -0.27, "high": -0.66}[devices["endotracheal_tube"]]
        points = [(0.0, -1.0), (0.005, tip)] if tip < -0.3 else [(0.0, -1.0), (0.0, -0.34), (-0.06, -0.22)]
        draw("endotracheal_tube", polyline(u, v, points, 2.4 * thin, edge), 0.34)
    if "central_line" in devices:
        path = [(-0.62, -0.70), (-0.30, -0.62), (-0.13, -0.50)]
        position = devices["central_line"]
        if position == "superior_vena_cava":
            path += [(-0.105, -0.14)]
        elif position == "right_atrium":
            path += [(-0.105, -0.14), (-0.14, 0.20)]
        draw("central_line", polyline(u, v, path, 1.5 * thin, edge), 0.32)
    if "pacemaker" in devices:
        box = small_ellipse(u, v, (0.60, -0.52), (0.125, 0.10), edge)
        draw("pacemaker", box, 0.42)
        lead = [(0.55, -0.56), (0.25, -0.55), (-0.06, -0.42), (-0.12, 0.02), (-0.05, 0.30), (0.20, 0.36)]
        draw("pacemaker", polyline(u, v, lead, 1.1 * thin, edge), 0.30)
        if devices["pacemaker"] == "right_atrium_and_ventricle":
            second = [(0.55, -0.50), (0.25, -0.50), (-0.02, -0.38), (-0.08, 0.10), (-0.20, 0.14), (-0.24, 0.02)]
            draw("pacemaker", polyline(u, v, second, 1.1 * thin, edge), 0.30)
    return attenuation


def _expose(attenuation: Array, stream: RandomStream, size: int) -> np.ndarray:
    """From attenuation to 8 bits: scatter blur, exposure and contrast of the film, quantum noise."""
    low, contrast, gamma = stream.uniform(-0.02, 0.05), stream.uniform(1.12, 1.32), stream.uniform(-0.12, 0.18)
    # A pixel's light spreads to its neighbours: a binomial kernel, more of it in large images.
    image = attenuation
    for _ in range(max(1, size // 256)):
        image = _smooth(image)
    image = np.clip((image - np.float32(low)) * np.float32(contrast), 0.0, 1.0)
    image = image + np.float32(gamma) * image * (1.0 - image)
    level = np.float32(stream.uniform(0.012, 0.028))
    noise = stream.noise(size, size)
    noise = noise + np.roll(noise, 7, axis=1) + np.roll(noise, 5, axis=0)
    # Less light behind dense parts.
    image = image + level * noise * (0.6 + 0.6 * image)
    return np.clip(image * np.float32(255.0) + np.float32(0.5), 0.0, 255.0).astype(np.uint8)


def _smooth(image: Array) -> Array:
    padded = np.pad(image, 1, mode="edge")
    rows = padded[:-2] + 4.0 * padded[1:-1] + padded[2:]
    return (rows[:, :-2] + 4.0 * rows[:, 1:-1] + rows[:, 2:]) * np.float32(1 / 36)


__all__ = ["Film", "cardiothoracic_ratio", "render_visit"]
