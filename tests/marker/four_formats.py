# Run in marker's environment: converts pages of a document in one piece, reads
# it once and writes it in all four formats, each into a folder of its own
# below the output folder. Arguments: document, page range, output folder.
import os
import sys

from marker.config.parser import ConfigParser
from marker.converters.pdf import PdfConverter
from marker.models import create_model_dict
from marker.output import save_output
from marker.util import strings_to_classes

RENDERERS = {
    "markdown": "marker.renderers.markdown.MarkdownRenderer",
    "html": "marker.renderers.html.HTMLRenderer",
    "json": "marker.renderers.json.JSONRenderer",
    "chunks": "marker.renderers.chunk.ChunkRenderer",
}

document, pages, output = sys.argv[1:]
options = ConfigParser(
    {
        "output_format": "markdown",
        "page_range": pages,
        "output_dir": output,
        "disable_multiprocessing": True,
        "disable_tqdm": True,
    }
)
converter = PdfConverter(
    config=options.generate_config_dict(),
    artifact_dict=create_model_dict(),
    processor_list=options.get_processors(),
    renderer=options.get_renderer(),
    llm_service=options.get_llm_service(),
)
read = converter.build_document(document)
stem = os.path.splitext(os.path.basename(document))[0]
for name, renderer in RENDERERS.items():
    (kind,) = strings_to_classes([renderer])
    folder = os.path.join(output, name)
    os.makedirs(folder)
    save_output(converter.resolve_dependencies(kind)(read), folder, stem)
