# Run by `python -c` in marker's own environment. Prints one JSON object: the
# versions of the packages that decide how marker is driven and, when a file is
# named, what PDFium (through which marker reads PDFs) says about it.
import sys

# `-c` puts the current folder first; a file json.py there must not be found.
sys.path[:] = [entry for entry in sys.path if entry]

import hashlib
import json
import math
import os
from importlib import metadata, util

PACKAGES = ("marker-pdf", "surya-ocr", "torch", "pdftext", "pypdfium2")
# Those that read settings of theirs from a file.
WITH_SETTINGS = ("marker", "surya", "texify")
SETTINGS = "local.env"
# Beyond this many pages the size of the last one is taken for the rest.
MAX_SIZES = 100_000


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def settings_file(package):
    """The nearest file of settings at or above the package's folder."""
    try:
        folders = util.find_spec(package).submodule_search_locations
    except (AttributeError, ImportError, ValueError):
        return None
    for folder in folders or ():
        above = None
        while folder != above:
            file = os.path.join(folder, SETTINGS)
            if os.path.isfile(file):
                return file
            above, folder = folder, os.path.dirname(folder)
    return None


def settings():
    """What stands in files of settings: hashes, since there may be keys among it."""
    files = {file for file in map(settings_file, WITH_SETTINGS) if file}
    if not files:
        return {}
    try:
        from dotenv import dotenv_values
    except ImportError:
        return {}
    found = {}
    for file in sorted(files):
        # As pydantic reads it for marker.
        for name, value in dotenv_values(file, encoding="utf8").items():
            whole = "%s=%s" % (found.get(name, ""), value)
            found[name] = hashlib.sha256(whole.encode("utf8", "surrogateescape")).hexdigest()
    return found


def points(length):
    return min(max(math.ceil(length), 1), 1_000_000)


def page_size(pdf, index):
    # PDFium counts as many pages as the file claims to have; only asking for
    # one shows whether it is there.
    try:
        width, height = pdf.get_page_size(index)
        return [points(width), points(height)]
    except Exception:
        return [0, 0]


def document(path, password=None):
    try:
        import pypdfium2
    except Exception as error:
        return {"kind": "no-pdfium", "reason": repr(error)}
    try:
        path.encode()
        source = path
    except UnicodeEncodeError:
        source = open(os.fsencode(path), "rb")
    try:
        pdf = pypdfium2.PdfDocument(source, password=password)
        count = len(pdf)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            return {"kind": "password"}
        return {"kind": "malformed", "reason": str(error)}
    except Exception as error:
        return {"kind": "malformed", "reason": repr(error)}
    sizes = [page_size(pdf, index) for index in range(min(count, MAX_SIZES))]
    return {"kind": "pages", "count": count, "sizes": sizes}


facts = {
    "python": "%d.%d.%d" % sys.version_info[:3],
    "packages": {name: version(name) for name in PACKAGES},
    "settings": settings(),
}
if len(sys.argv) > 1 and facts["packages"]["marker-pdf"]:
    words = None
    if len(sys.argv) > 2:
        # A password stands in a file, where no list of processes shows it.
        with open(sys.argv[2], encoding="utf-8", newline="") as file:
            words = file.read()
    facts["document"] = document(sys.argv[1], words)
json.dump(facts, sys.stdout)
