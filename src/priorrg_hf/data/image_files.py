"""Which image files and addresses a source may name: the same rule for every reader and command.

A table is not always one's own. What it names must lie below the image root, also after links are resolved, or an option must say
that it may lie elsewhere; addresses of the network are opened only if an option says so.
"""

import os
import re
from pathlib import Path
from typing import Any

from .schema import StudyError
from .values import Changes


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def scheme_of(path: str) -> str | None:
    """The scheme of a URL in small letters, or `None` for a path."""
    match = _SCHEME.match(path)
    return match[1].lower() if match else None


def plain_path(path: str, changes: Changes | None = None) -> str:
    """A path as this machine writes it: `file://` URLs become paths, backslashes become slashes. Other URLs stay.

    Raises `ValueError` for a `file://` URL of another machine.
    """
    path = path.strip()
    if scheme_of(path) == "file":
        from ..model.image_loading_priorrg import file_url_to_path

        return file_url_to_path(path)
    if os.sep == "/" and "\\" in path and scheme_of(path) is None and not os.path.lexists(path):
        if changes is not None:
            changes.note("path", path, path.replace("\\", "/"))
        return path.replace("\\", "/")
    return path


class ImagePlaces:
    """Says of each image path of a source whether it may be opened.

    Args:
        root (path, *optional*): the image root; `None` if the source has none, so that no local file is its own.
        allow_outside (`bool`): let files lie anywhere.
        allow_urls (`bool`): let images be http and https addresses.
    """

    def __init__(self, root: str | os.PathLike | None, allow_outside: bool = False, allow_urls: bool = False):
        self.allow_outside, self.allow_urls = allow_outside, allow_urls
        self.roots = [] if root is None else [os.path.realpath(root)]
        self._real_folders: dict[str, str] = {}

    def add_root(self, root: str | os.PathLike) -> None:
        """Lets files lie below another folder as well."""
        self.roots.append(os.path.realpath(root))

    def problem(self, path: str) -> tuple[str, str] | None:
        """What is wrong with a path or URL, and the remedy; `None` where it may be opened."""
        scheme = scheme_of(path)
        if scheme in ("http", "https"):
            remedy = "Download the file, or allow addresses in the source (allow_urls=True, --allow-urls)"
            return (
                None if self.allow_urls else ("is an address of the network, and such are not opened unasked", remedy)
            )
        if scheme is not None:
            return (
                f"has the scheme {scheme}://, and only paths, http and https are read",
                "Download the file and give its path",
            )
        if _DRIVE.match(path) and os.sep == "/":
            return (
                f"{path!r} lies on a drive of Windows",
                "Give paths from the image root, and the root itself (image_root=..., --image-root)",
            )
        if "\0" in path:
            return "holds a zero character", "Correct the path"
        if self.allow_outside or self._is_below(path):
            return None
        root = self.roots[0] if self.roots else "(the source has none)"
        where = os.path.realpath(path)
        shown = f"{path!r}" if where == os.path.abspath(path) else f"{path!r}, which is {where!r},"
        return (
            f"{shown} lies outside of the image root {root}",
            "Name the folder of the images (image_root=..., --image-root), or allow files from anywhere "
            "(allow_outside_image_root=True, --allow-outside-image-root)",
        )

    def _is_below(self, path: str) -> bool:
        folder, name = os.path.split(os.path.abspath(path))
        real = self._real_folders.get(folder)
        if real is None:
            if len(self._real_folders) > 100_000:
                self._real_folders.clear()
            real = self._real_folders[folder] = os.path.realpath(folder)
        real = os.path.join(real, name)
        real = os.path.realpath(real) if os.path.islink(real) else real
        return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in self.roots)

    def check_row(self, row: dict[str, Any]) -> None:
        """Raises `StudyError` for the first image of a study or example row that may not be opened."""
        for name, image in images_of(row):
            if image.get("bytes") is None and image.get("path") is not None:
                problem = self.problem(image["path"])
                if problem is not None:
                    raise StudyError(row["study_id"], name, *problem)


def images_of(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(field, stored image) of all images of a study row or an example row."""
    if "images" in row:
        found = [(f"images[{index}].image", entry["image"]) for index, entry in enumerate(row["images"] or ())]
        found.append(("prior.image", (row.get("prior") or {}).get("image")))
    else:
        found = [(name, row.get(name)) for name in ("image", "prior_image")]
    return [(name, image) for name, image in found if image is not None]


def image_file_content(path: str | os.PathLike) -> bytes:
    """The bytes of an image file that may be given away: a regular file of a sensible size that decodes as a picture or DICOM.

    Raises `ValueError` or `OSError` for anything else: pipes, devices, folders, texts, damaged pictures.
    """
    from ..model.image_loading_priorrg import load_image, read_regular_file

    content = read_regular_file(Path(path))
    load_image(content)
    return content
