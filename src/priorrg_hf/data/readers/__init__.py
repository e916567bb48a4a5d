"""The readers, one file a source. Each gives `(place in the source, study)` pairs; `priorrg_hf.data.load_studies` does the rest."""

from .base import READERS, Reader, ReaderOptions, detect_reader, open_reader


__all__ = ["READERS", "Reader", "ReaderOptions", "detect_reader", "open_reader"]
