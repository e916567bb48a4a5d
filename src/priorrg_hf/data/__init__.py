"""Studies: the schema, the readers (one file a source), prior linking, checks and conversion; files that are written whole or not at all.

May use `model` for reading images. Importing this package loads nothing heavy. Research use only, not for clinical decisions.
"""

import lazy_loader


# The public names stand in __init__.pyi; each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
