# Run by `python -c` in marker's own environment: PDFium, through which marker
# reads PDFs, writes a copy of a document without its password. The arguments
# are the document, the file with the password and the copy, which must not
# exist.
import sys

# `-c` puts the current folder first; a file os.py there must not be found.
sys.path[:] = [entry for entry in sys.path if entry]

import os

import pypdfium2
import pypdfium2.raw

document, password, copy = map(os.fsencode, sys.argv[1:4])
with open(password, encoding="utf-8", newline="") as file:
    words = file.read()
with open(document, "rb") as file:
    pdf = pypdfium2.PdfDocument(file, password=words)
    target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(target, "wb") as target:
        pdf.save(target, flags=pypdfium2.raw.FPDF_REMOVE_SECURITY)
        target.flush()
        os.fsync(target.fileno())
    pdf.close()
