"""Training of both stages: trainers and their arguments, collator, losses, samplers, checkpoints, the feature cache, LoRA, whole runs.

May use `model`, `data` and `metrics`.
"""

import lazy_loader


# The public names stand in __init__.pyi; each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
