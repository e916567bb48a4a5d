"""The lateral film of a phantom: the patient looks to the image's left, the spine is on its right."""

import numpy as np

from .anatomy import Array, Shape, StreamFor, ellipse, patient_grid, polyline, smooth_texture, soft
from .cohort import Visit


def attenuation_of_lateral(visit: Visit, shape: Shape, stream_for: StreamFor, size: int) -> Array:
    """Attenuation of a lateral film. Sides lie over each other here, so that both sides' findings add up.

    Args:
        visit (`Visit`): findings and devices.
        shape (`Shape`): the patient.
        stream_for (`Callable`): purpose -> random stream of this film.
        size (`int`): pixels.

    Returns:
        `np.ndarray` of shape `(size, size)`, float32.
    """
    u, v = patient_grid(size, stream_for("pose"))
    edge = 2.0 / size
    body = soft(0.90 * shape.width - np.abs(u + 0.06 * v - 0.02), 0.05) * soft(v + 1.1, 0.1)
    # Lungs: narrow between sternum and spine at the top, wide at the base, cut by two domes.
    x, y = (u - 0.05 - 0.08 * v) / (0.60 * shape.width), (v - 0.05) / 0.88
    field = (1.0 - np.sqrt(x * x * (0.6 + 0.4 * x * x) + y * y)) * 0.55
    domes = []
    for dome in (shape.right_dome, shape.left_dome):
        place = (u + 0.12) / 0.62
        domes.append(dome + 0.02 + 0.26 * place * place * soft(u + 0.12, 0.02) + 0.05 * place * place)
    lung = soft(field, edge) * (0.5 * soft(domes[0] - v, edge) + 0.5 * soft(domes[1] - v, edge))

    value = visit.values.get("cardiomegaly", 0.0)
    heart = ellipse(
        u + 0.35 * (v - 0.22), v, (-0.20 + 0.05 * value, 0.22), (0.26 + 0.12 * value, 0.27 + 0.07 * value), 0.03
    )
    arch = polyline(u, v, [(-0.06, 0.0), (-0.08, -0.35), (0.05, -0.46), (0.22, -0.36), (0.28, 0.1)], 0.045, 0.04)
    spine = soft(0.09 - np.abs(u - 0.50 + 0.10 * v * v), 0.05)
    phase = v / 0.15 + shape.rib_phase
    discs = soft(0.36 - np.abs(phase - np.floor(phase) - 0.5), 0.1)
    ribs = (v - 0.55 * (0.5 - u) ** 2 - 0.2 * u) / (1.1 * shape.rib_spacing) + shape.rib_phase
    ribs = soft(0.16 - np.abs(ribs - np.floor(ribs) - 0.5), 0.12)
    sternum = polyline(u, v, [(-0.50, -0.55), (-0.62, 0.0), (-0.60, 0.3)], 0.028, 0.02)
    trachea = polyline(u, v, [(-0.06, -1.0), (0.02, -0.35)], 0.04, 0.03)
    hilum = ellipse(u, v, (0.02, -0.14), (0.12, 0.14), 0.08)

    attenuation = (shape.tissue + 0.05) * body + 0.11 * heart * lung + 0.05 * arch * lung + 0.05 * hilum * lung
    attenuation += spine * body * (0.05 + 0.05 * discs) * (1.0 - 0.45 * soft(v - 0.1, 0.5)) + 0.07 * sternum
    attenuation += 0.03 * ribs * soft(field + 0.06, 0.03) - 0.08 * trachea
    attenuation -= 0.33 * lung
    attenuation += 0.015 * smooth_texture(stream_for("markings"), size, 26) * lung

    for number, side in enumerate(("right", "left")):
        amount = visit.values.get(f"effusion:{side}")
        if amount is not None:  # pools behind, in the posterior angle
            level = domes[number] + 0.10 - 0.45 * amount - 0.25 * np.clip(u, 0.0, 1.0)
            fluid = lung * soft(v - level, 0.03) * soft(u + 0.25 - 0.2 * (1.0 - amount), 0.15)
            attenuation += 0.8 * fluid * (np.maximum(np.float32(shape.tissue + 0.10), attenuation) - attenuation)
        opacity = visit.values.get(f"consolidation:{side}")
        if opacity is not None:
            radius = 0.08 + 0.14 * opacity
            patch = ellipse(u, v, (0.10, shape.opacity_place[side][1]), (1.2 * radius, radius), 0.06)
            attenuation += (0.10 + 0.06 * value) * patch * lung
    if "edema" in visit.values:
        attenuation += (
            (0.03 + 0.10 * visit.values["edema"]) * lung * (1.0 + 0.5 * smooth_texture(stream_for("edema"), size, 36))
        )
    if "atelectasis" in visit.values:
        line = polyline(u, v, [(0.05, 0.26), (0.30, 0.32)], 0.012, edge)
        attenuation += 0.14 * line * lung
    if "pacemaker" in visit.devices:
        lead = polyline(
            u, v, [(-0.45, -0.55), (-0.05, -0.50), (0.0, 0.05), (-0.28, 0.34)], max(0.006, 0.45 * edge), edge
        )
        attenuation += 0.28 * lead + 0.3 * ellipse(u, v, (-0.50, -0.52), (0.05, 0.11), edge)
    if "endotracheal_tube" in visit.devices:
        attenuation += 0.2 * polyline(u, v, [(-0.06, -1.0), (-0.01, -0.5)], max(0.009, 0.6 * edge), edge)
    if "central_line" in visit.devices:
        attenuation += 0.2 * polyline(
            u, v, [(-0.30, -0.75), (-0.02, -0.50), (0.0, -0.1)], max(0.006, 0.45 * edge), edge
        )
    return attenuation


__all__ = ["attenuation_of_lateral"]
