"""The way in and out of the world: published checkpoints in, Hub folders, model cards and exported programs out.

May use `model`, `data` and `metrics`.
"""

import lazy_loader


# The public names stand in __init__.pyi; each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
