#!/usr/bin/env python3
"""Makes tiny checkpoints with which the real marker-pdf 1.10 runs offline.

    PYTHON_OF_MARKER tiny_models.py FOLDER [--final FOLDER]

The published weights of marker's models are gigabytes and need a download.
The checkpoints made here have the same architectures with a few thousand
random parameters (40 MB in all, most of it the embedding tables that surya
fixes in size), so every step of the genuine program runs: imports, model
loading, rendering, layout, line merging, processors, writing. What they are
good for is exercising and measuring the program; what they say about a page
means nothing:

  layout        finds on every page the boxes of LAYOUT below, whatever the
                page shows (see `script_layout`)
  ocr_error     calls every text layer good, so marker takes the PDF's own text
  recognition   ends at once without text (used only for pages that marker
                sends to OCR: those without a text layer, or with lines that
                overlap)
  detection, table_rec   random; used only for such pages and for tables

The result is deterministic (seed 0). `--final` is the folder's later name when
the caller renames it: the written settings then use that name.

Written for surya-ocr 0.17, which is what marker-pdf 1.10 uses; any other is
refused.
"""

import argparse
import json
import os
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

os.environ["TORCH_DEVICE"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402  (after the environment it reads)
from safetensors.torch import save_file  # noqa: E402

SEED = 0

# What the layout model answers for every page: label, and the box as fractions
# of the page (left, top, right, bottom), in reading order. Chosen so that
# marker's rules that look across pages have work: text first and last, which
# lets a paragraph continue on the next page; a heading band, which gives
# heading levels and a table of contents; a picture, which gives one image file
# a page. marker sends a page to OCR when fewer than a quarter of the boxes,
# pictures aside, hold text; the wide bands avoid that.
LAYOUT = [
    ("<page-header>", (0.05, 0.03, 0.95, 0.075)),
    ("<text>", (0.08, 0.08, 0.95, 0.30)),
    ("<section-header>", (0.08, 0.31, 0.95, 0.33)),
    ("<image>", (0.30, 0.94, 0.70, 0.98)),
    ("<text>", (0.08, 0.34, 0.95, 0.93)),
]

# Tokens that surya's processors look up by name.
SYSTEM_TOKENS = [
    "<PAD>", "</S>", "<EOI>", "<IMAGE>", "<NOP>", "<ROT>", "<REG1>", "<REG2>",
    "<REG3>", "<REG4>", "<BEACON>", "<NO-MATH>", "<OCR-WB>", "<OCR-WOB>",
    "<BLOCKS-WOB>", "<LAYOUT>", "<TABLE-STRUCTURE>",
]  # fmt: skip
END = "</S>"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--final", type=Path, help="the folder's name later on")
    arguments = parser.parse_args()
    if not version("surya-ocr").startswith("0.17."):
        sys.exit(f"error: surya-ocr {version('surya-ocr')} is not supported, only 0.17 (marker-pdf 1.10)")
    folder = arguments.folder.absolute()
    final = (arguments.final or folder).absolute()

    torch.manual_seed(SEED)
    make_ocr_error(fresh(folder / "ocr_error"))
    make_detection(fresh(folder / "detection"))
    make_table_rec(fresh(folder / "table_rec"))
    make_foundation(fresh(folder / "recognition"), ends_at_once)
    make_foundation(fresh(folder / "layout"), script_layout)
    # marker downloads a font unless this file exists; for PDFs it is not opened.
    (folder / "font.ttf").touch()
    write_settings(folder, settings_for(final))


def fresh(folder):
    folder.mkdir(parents=True)
    return folder


def settings_for(folder):
    """The variables that point marker at the checkpoints in `folder`."""
    return {
        "DETECTOR_MODEL_CHECKPOINT": f"{folder}/detection",
        "FOUNDATION_MODEL_CHECKPOINT": f"{folder}/recognition",
        "LAYOUT_MODEL_CHECKPOINT": f"{folder}/layout",
        "OCR_ERROR_MODEL_CHECKPOINT": f"{folder}/ocr_error",
        "RECOGNITION_MODEL_CHECKPOINT": f"{folder}/recognition",
        "TABLE_REC_MODEL_CHECKPOINT": f"{folder}/table_rec",
        "FONT_PATH": f"{folder}/font.ttf",
        "HF_HUB_OFFLINE": "1",
        "TORCH_DEVICE": "cpu",
    }


def write_settings(folder, settings):
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()]
    (folder / "env.sh").write_text("".join(lines))
    (folder / "env.json").write_text(json.dumps(settings, indent=2) + "\n")


# --- the models around the text ---------------------------------------------


def make_ocr_error(folder):
    from surya.ocr_error.model.config import DistilBertConfig
    from surya.ocr_error.model.encoder import DistilBertForSequenceClassification

    characters = [chr(code) for code in range(33, 127)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary += characters + ["##" + character for character in characters]
    config = DistilBertConfig(
        vocab_size=len(vocabulary), dim=32, hidden_dim=64, n_layers=1, n_heads=2,
        max_position_embeddings=512, num_labels=2,
    )  # fmt: skip
    config.id2label, config.label2id = {0: "good", 1: "bad"}, {"good": 0, "bad": 1}
    model = DistilBertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([8.0, -8.0]))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = {
        "tokenizer_class": "DistilBertTokenizer", "do_lower_case": True, "model_max_length": 512,
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))


def make_detection(folder):
    from surya.detection.model.config import EfficientViTConfig
    from surya.detection.model.encoderdecoder import EfficientViTForSemanticSegmentation
    from surya.detection.processor import SegformerImageProcessor

    config = EfficientViTConfig(
        widths=(8, 8, 16, 16, 32), depths=(1, 1, 1, 1, 1), head_dim=8,
        decoder_layer_hidden_size=16, decoder_hidden_size=32, num_labels=2,
    )  # fmt: skip
    EfficientViTForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(
        size={"height": 1200, "width": 1200},
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)  # fmt: skip


def make_table_rec(folder):
    from surya.common.donut.processor import SuryaEncoderImageProcessor
    from surya.table_rec.model.config import (
        DonutSwinTableRecConfig, SuryaTableRecConfig, SuryaTableRecDecoderConfig,
    )  # fmt: skip
    from surya.table_rec.model.encoderdecoder import TableRecEncoderDecoderModel

    encoder = DonutSwinTableRecConfig(
        embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], num_kv_heads=[1, 2, 4, 8],
    )  # fmt: skip
    decoder = SuryaTableRecDecoderConfig(
        num_hidden_layers=1, hidden_size=64, property_embed_size=16, box_embed_size=48,
        intermediate_size=128, encoder_hidden_size=128, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    config = SuryaTableRecConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict())
    # The file wants dictionaries where the model wants objects, so the two part.
    on_disk = dict(config.to_dict(), encoder=encoder.to_dict(), decoder=decoder.to_dict())
    config.encoder, config.decoder = encoder, decoder
    save_weights(TableRecEncoderDecoderModel(config=config), folder)
    (folder / "config.json").write_text(json.dumps(on_disk, default=str))
    SuryaEncoderImageProcessor(size={"height": 768, "width": 768}).save_pretrained(folder)


# --- the foundation model, used for recognition and for layout ---------------


def make_foundation(folder, prepare):
    """Saves a one-layer foundation model after `prepare(model, ids)`."""
    from surya.common.surya import SuryaModel

    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    config = foundation_config(tokenizer)
    model = SuryaModel(config)
    with torch.no_grad():
        prepare(model, tokenizer.special_to_absid)
    save_weights(model, folder)
    config.save_pretrained(folder)


def make_tokenizer():
    from surya.common.surya.processor.tokenizer import GreedyMathUTF16Tokenizer
    from surya.layout.label import LAYOUT_PRED_RELABEL

    special = {
        "system": SYSTEM_TOKENS,
        "formatting": ["<b>", "</b>", "<i>", "</i>", "<br>"],
        "math_external": ["<math>", '<math display="block">', "</math>"],
        "script": [],
        "layout": list(LAYOUT_PRED_RELABEL),
        "reasoning": [],
        "table_structure": ["<tr>", "</tr>", "<td>", "</td>"],
        "reserved": [],
    }
    return GreedyMathUTF16Tokenizer(
        math_vocab={"\\frac": 0, "{": 1, "}": 2}, special_tokens_dict=special,
        eos_token=END, pad_token="<PAD>",
    )  # fmt: skip


def foundation_config(tokenizer):
    from surya.common.surya.config import SuryaModelConfig

    ids, vocabulary = tokenizer.special_to_absid, tokenizer.vocab_size
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = SuryaModelConfig(
        vocab_size=vocabulary, eos_token_id=ids[END], pad_token_id=ids["<PAD>"],
        bos_token_id=ids["<OCR-WB>"], image_token_id=ids["<IMAGE>"],
        register_token_ids=[ids[f"<REG{number}>"] for number in (1, 2, 3, 4)],
        eoi_token_id=ids["<EOI>"], beacon_token_id=ids["<BEACON>"],
        special_ocr_tokens=dict(tokenizer.special_tokens), bbox_embed_size=16,
        vision_encoder=dict(
            depth=1, hidden_size=32, intermediate_size=64, num_heads=2, out_hidden_size=32,
            fullatt_block_indexes=[0],
        ),
        decoder=dict(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=64,
            max_position_embeddings=8192, **heads,
        ),
        # The key-value cache reads these three from the top level.
        **heads,
    )  # fmt: skip
    config.vision_encoder._attn_implementation = "sdpa"
    config.decoder._attn_implementation = "sdpa"
    return config


def ends_at_once(model, ids):
    """Makes the end the likeliest token everywhere."""
    model.embedder.token_embed.weight.mul_(0.02)
    model.lm_head.weight.copy_(model.embedder.token_embed.weight)  # they are tied when loaded
    model.lm_head.bias.zero_()
    model.lm_head.bias[ids[END]] = 30.0


def script_layout(model, ids):
    """Makes the model recite LAYOUT: first box, second box, ..., end.

    The network becomes a little state machine. A token's embedding says
    nothing of which box it stood for (labels repeat), but surya feeds the last
    box back beside the token, and the boxes' centres differ in height: so the
    embedding of the centre's height lights dimension 16+k after box k. The MLP
    turns that into the label of box k+1 (dimensions 0 to 7, one a label) and
    into its number (dimensions 8 to 15). Attention is switched off. After the
    prompt, which lights nothing, the heads' biases choose box 0.
    """
    assert len(LAYOUT) < 8 and model.config.bbox_embed_size == 16 and model.config.hidden_size == 32
    labels = sorted({label for label, _ in LAYOUT} | {END})
    script = [label for label, _ in LAYOUT] + [END]

    embedding = model.embedder.token_embed.weight
    embedding.zero_()
    for number, label in enumerate(labels):
        embedding[ids[label], number] = 1.0
    model.lm_head.weight.copy_(embedding)  # they are tied when loaded
    model.lm_head.bias.zero_()
    model.lm_head.bias[ids[script[0]]] = 0.5

    light_last_box(model)
    layer = model.decoder.layers[0]
    layer.self_attn.o_proj.weight.zero_()
    for matrix in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj):
        matrix.weight.zero_()
    for number in range(len(LAYOUT)):
        layer.mlp.gate_proj.weight[number, 16 + number] = 1.0
        layer.mlp.up_proj.weight[number, 16 + number] = 1.0
        # Strong enough to dwarf what the embeddings left in these dimensions.
        layer.mlp.down_proj.weight[labels.index(script[number + 1]), number] = 50.0
        layer.mlp.down_proj.weight[8 + number + 1, number] = 50.0
    recite_boxes(model)


def light_last_box(model):
    """Embeds a box as its place in LAYOUT, told by the height of its centre."""
    for table in model.embedder.bbox_embed:
        table.weight.zero_()
    heights = model.embedder.bbox_embed[1].weight
    for number, (_, (_, top, _, bottom)) in enumerate(LAYOUT):
        centre = round((top + bottom) / 2 * model.config.bbox_size)
        assert not heights[centre - 3 : centre + 4].any(), "two boxes at one height"
        heights[centre - 3 : centre + 4, number] = 1.0


def recite_boxes(model):
    """Makes the box head answer box k of LAYOUT when dimension 8+k is lit."""
    head = model.bbox_head
    for layer in head.proj_layers:
        layer.weight.copy_(torch.eye(model.config.hidden_size))
        layer.bias.zero_()
    first = torch.tensor(logits_of(LAYOUT[0][1]))
    head.out_proj.weight.zero_()
    head.out_proj.bias.copy_(first)
    # Two equal dimensions are lit (label and number); the norm makes their
    # squares sum to the number of dimensions.
    signal = torch.tensor((model.config.hidden_size / 2) ** 0.5)
    for _ in head.proj_layers:
        signal = head.act(signal)
    for number in range(1, len(LAYOUT)):
        wanted = torch.tensor(logits_of(LAYOUT[number][1]))
        head.out_proj.weight[:, 8 + number] = (wanted - first) / signal


def logits_of(box):
    """surya's box: centre, size and skew, each through a sigmoid."""
    left, top, right, bottom = box
    values = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 0.5, 0.5]
    return [float(torch.logit(torch.tensor(value))) for value in values]


def save_weights(model, folder):
    state = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
