"""PDFs of known content: text in Helvetica, pictures of coloured noise."""

import random
import zlib

LETTER = (612, 792)
PICTURE_SIDE = 400


def document(pages):
    """A document of such pages: (size in points, lines of text, pictures)."""
    dice = random.Random(0)
    objects = Objects()
    kids = [page(objects, dice, *one) for one in pages]
    objects.set_pages(kids)
    return objects.written()


def write_large(path, pages, file_bytes):
    """Pages with one picture each, that fill about so many bytes; never held whole."""
    dice = random.Random(0)
    size = file_bytes // pages
    width = PICTURE_SIDE
    height = size // (3 * width)
    objects = Objects()
    with open(path, "wb") as file:
        objects.stream_to(file)
        kids = []
        for _ in range(pages):
            data = dice.randbytes(3 * width * height)
            name = objects.add(picture_object(width, height, data))
            content = b"q %d 0 0 %d 0 0 cm /I0 Do Q\n" % LETTER
            stream = objects.add(stream_object(b"", content))
            kids.append(objects.add(page_object(LETTER, stream, b"/I0 %d 0 R" % name)))
        objects.set_pages(kids)
        objects.finish()


def page(objects, dice, size, lines, pictures):
    content, names = text(dice, size, lines), []
    for index in range(pictures):
        name = objects.add(picture(dice))
        names.append(b"/I%d %d 0 R" % (index, name))
        whole = lines == 0
        side = size if whole else (size[0] // 4, size[1] // 8)
        left, low = (0, 0) if whole else (40 + index * side[0], 20)
        content += b"q %d 0 0 %d %d %d cm /I%d Do Q\n" % (*side, left, low, index)
    stream = objects.add(stream_object(b"", content))
    return objects.add(page_object(size, stream, b" ".join(names)))


def text(dice, size, lines):
    out = b"BT /F 9 Tf %d TL 40 %d Td\n" % (max(10, (size[1] - 120) // max(lines, 1)), size[1] - 50)
    for _ in range(lines):
        words = " ".join("".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 9))) for _ in range(size[0] // 40))
        out += b"(%s) Tj T*\n" % words.encode()
    return out + b"ET\n"


def picture(dice):
    """Squares of one colour, so that it is small in the file."""
    cells = [dice.randbytes(3) * 20 for _ in range(20 * 20)]
    rows = b"".join(b"".join(cells[20 * (row // 20) : 20 * (row // 20) + 20]) for row in range(PICTURE_SIDE))
    return picture_object(PICTURE_SIDE, PICTURE_SIDE, zlib.compress(rows), b"/Filter/FlateDecode")


def picture_object(width, height, data, how=b""):
    shape = b"/Width %d/Height %d" % (width, height)
    return stream_object(b"/Type/XObject/Subtype/Image%s/ColorSpace/DeviceRGB/BitsPerComponent 8%s" % (shape, how), data)


def stream_object(keys, data):
    return b"<<%s/Length %d>>\nstream\n%s\nendstream" % (keys, len(data), data)


def page_object(size, stream, pictures):
    return (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents %d 0 R"
        b"/Resources<</Font<</F 3 0 R>>/XObject<<%s>>>>>>" % (*size, stream, pictures)
    )


class Objects:
    """The numbered objects of a file, held or written as they come."""

    CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
    FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"

    def __init__(self):
        self.offsets = {}
        self.number = 3
        self.parts = []
        self.length = 0
        self.file = None
        self.write(b"%PDF-1.5\n")
        self.place(1, self.CATALOG)
        self.place(3, self.FONT)

    def stream_to(self, file):
        file.write(b"".join(self.parts))
        self.file, self.parts = file, []

    def add(self, body):
        self.number += 1
        self.place(self.number, body)
        return self.number

    def set_pages(self, kids):
        names = b" ".join(b"%d 0 R" % kid for kid in kids)
        self.place(2, b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(kids), names))

    def written(self):
        self.finish()
        return b"".join(self.parts)

    def finish(self):
        start, count = self.length, self.number + 1
        self.write(b"xref\n0 %d\n0000000000 65535 f \n" % count)
        self.write(b"".join(b"%010d 00000 n \n" % self.offsets[number] for number in range(1, count)))
        self.write(b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, start))

    def place(self, number, body):
        self.offsets[number] = self.length
        self.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))

    def write(self, data):
        self.length += len(data)
        if self.file is None:
            self.parts.append(data)
        else:
            self.file.write(data)
