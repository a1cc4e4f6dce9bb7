"""How files that sammil cannot use are made usable: for remedies and remarks."""

import shlex
from pathlib import Path

from sammil_cli.storage.files import RENAME

# They stand for a suffix.
DANGLING, NAMELESS_DICOM, NO_UTF8 = "dangling link", "DICOM without .dcm", "name that is no UTF-8"

# suffix that nothing here reads -> what to do
UNSUPPORTED = {
    DANGLING: "copy the file here; in a container mount the folder that it is in, too",
    NAMELESS_DICOM: "rename it to end in .dcm",
    NO_UTF8: RENAME,
    ".vsi": "convert with bfconvert or QuPath, to OME-TIFF",
    ".ets": "part of a .vsi slide: convert with bfconvert or QuPath, to OME-TIFF",
    ".isyntax": "convert with Philips' Pathology SDK or isyntax2raw and raw2ometiff --rgb, to OME-TIFF",
    ".i2syntax": "convert with Philips' Pathology SDK, to TIFF",
    ".sdpc": "convert with opensdpc, or the vendor's converter, to TIFF or SVS",
    ".kfb": "convert with the vendor's converter, to SVS",
    ".mds": "convert with the vendor's viewer, to TIFF",
    ".tmap": "convert with the vendor's viewer, to TIFF",
    ".lif": "convert with bfconvert or QuPath, to OME-TIFF",
    ".lsm": "convert with bfconvert or QuPath, to OME-TIFF",
    ".nd2": "convert with bfconvert or QuPath, to OME-TIFF",
    ".oir": "convert with bfconvert or QuPath, to OME-TIFF",
    ".jp2": "convert with vips tiffsave, to pyramidal TIFF",
    ".j2k": "convert with vips tiffsave, to pyramidal TIFF",
    ".bmp": "convert with vips tiffsave, to pyramidal TIFF",
    ".zarr": "convert with raw2ometiff --rgb, to OME-TIFF",
    ".zip": "unpack it",
    ".gz": "unpack it",
    ".tar": "unpack it",
    ".zst": "unpack it",
    ".part": "finish the download",
    ".partial": "finish the download",
    ".crdownload": "finish the download",
}


def pyramid_command(path: Path) -> str:
    """The command that makes a pyramidal tiled TIFF of a slide, to be pasted into a shell."""
    target = path.with_name(f"{path.stem}_pyramid.tif")
    source, out = shlex.quote(str(path)), shlex.quote(str(target))
    return f"vips tiffsave {source} {out} --tile --pyramid --compression jpeg --Q 90 --bigtiff"
