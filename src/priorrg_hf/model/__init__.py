"""What travels with the weights, and nothing else: every Python file of this room is uploaded by `save_with_code`.

Configuration, layers, the models, the processor with image and DICOM reading, the pipeline. The files are flat siblings with
single-dot imports, because transformers copies them that way; they use torch, transformers, numpy and Pillow (pydicom where it is
installed), and no other room.
"""

import lazy_loader


# The public names stand in __init__.pyi; each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
