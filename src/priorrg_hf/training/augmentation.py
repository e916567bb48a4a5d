"""Augmentation of chest X-rays that keeps what a radiologist reads: never mirrored, never cut, only slightly moved and toned."""

import math
from dataclasses import dataclass

import torch


@dataclass
class ChestXrayAugmentation:
    """Small random rotation, shift, scaling, brightness and contrast of preprocessed images.

    There is no reflection in it: a mirrored chest shows situs inversus, and "left" in the report would be wrong.

    Args:
        degrees (`float`): largest rotation to either side.
        translate (`float`): largest shift, as a share of the side.
        scale (`float`): largest enlargement or reduction, as a share.
        brightness (`float`): largest shift of the intensities, in units of the normalised images' standard deviation.
        contrast (`float`): largest stretch of the intensities around their mean, as a share.
    """

    degrees: float = 5.0
    translate: float = 0.03
    scale: float = 0.05
    brightness: float = 0.1
    contrast: float = 0.1

    def __post_init__(self):
        if not 0 <= self.scale < 1 or not 0 <= self.contrast < 1 or self.degrees < 0 or self.degrees >= 90:
            raise ValueError(
                "augmentation must neither mirror nor turn an image over: 0 <= scale < 1, 0 <= contrast < 1, 0 <= degrees < 90"
            )

    def matrix(self, generator: torch.Generator) -> torch.Tensor:
        """One random affine map, shape `(2, 3)`; its determinant is positive, so it never mirrors."""
        spread = 2 * torch.rand(4, generator=generator) - 1
        angle = math.radians(self.degrees) * float(spread[0])
        factor = 1 + self.scale * float(spread[1])
        cosine, sine = factor * math.cos(angle), factor * math.sin(angle)
        shift_x, shift_y = (2 * self.translate * spread[2:]).tolist()
        return torch.tensor([[cosine, -sine, shift_x], [sine, cosine, shift_y]])

    def __call__(self, pixel_values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augments one preprocessed image of shape `(channels, height, width)`; `generator` decides everything random."""
        grid = torch.nn.functional.affine_grid(
            self.matrix(generator)[None], [1, *pixel_values.shape], align_corners=False
        ).to(pixel_values.dtype)
        # Outside the image lies its darkest value (air), not zero, which is mid-grey after normalisation.
        black = pixel_values.min()
        moved = torch.nn.functional.grid_sample(
            (pixel_values - black)[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )[0]
        moved = moved + black
        tone = 2 * torch.rand(2, generator=generator) - 1
        mean = moved.mean()
        return (moved - mean) * (1 + self.contrast * float(tone[0])) + mean + self.brightness * float(tone[1])
