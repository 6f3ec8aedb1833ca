"""Write a bundle whole or not at all."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nas.bundle import archive, fields
from nas.bundle.contents import INDEX, Bundle
from nas.errors import BundleError

__all__ = ["write_bundle"]


def write_bundle(folder: str | Path, bundle: Bundle, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle whole or not at all, and return it at its place.

    `files` maps names inside the bundle to their bytes; those that are no segments become `Bundle.files`. An
    older bundle at `folder` is replaced; anything else there is an error.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder / INDEX).is_file():
        raise BundleError(f"{folder} must be free or hold a bundle, but holds other things; choose another")
    if bad := [name for name in files if not archive.stays_inside(name)]:
        raise BundleError(f"a file must stay inside the bundle, but got {bad[0]!r}; name it models/NAME/FILE")
    of_models = {file.file for model in bundle.models for file in model.files}
    further = {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name not in of_models
    }
    bundle = replace(bundle, files=further)
    index = fields.dumped(bundle.to_json())
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        fresh = Path(scratch, "new")
        for name, data in {**files, INDEX: index}.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        Bundle.load(fresh)
        old = Path(scratch, "old")
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    return replace(bundle, path=folder)
