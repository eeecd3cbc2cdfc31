#!/usr/bin/env python3
"""Makes tiny checkpoints with which the real marker-pdf 2.0 runs offline.

    PYTHON_OF_MARKER tiny_models_2.py FOLDER [--final FOLDER]

marker 2.0 runs its models in servers of their own. Of the three kinds two can
be given a checkpoint from the disk:

  fast_layout   the published architecture (rf-detr-large, 130 MB) with random
                weights: finds whatever the seed makes it find
  ocr_error     calls every text layer good, so marker takes the PDF's own text

The third, which reads pages without a text layer, needs llama.cpp and is not
made: convert documents whose pages all have text, or use `--disable_ocr`.

The result is deterministic (seed 0). `--final` is the folder's later name when
the caller renames it: the written settings then use that name.

Written for surya-ocr 0.22, which is what marker-pdf 2.0 uses; any other is
refused.
"""

import argparse
import json
import os
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

os.environ["TORCH_DEVICE"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402  (after the environment it reads)

SEED = 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--final", type=Path, help="the folder's name later on")
    arguments = parser.parse_args()
    if not version("surya-ocr").startswith("0.22."):
        sys.exit(f"error: surya-ocr {version('surya-ocr')} is not supported, only 0.22 (marker-pdf 2.0)")
    folder = arguments.folder.absolute()
    final = (arguments.final or folder).absolute()

    torch.manual_seed(SEED)
    make_ocr_error(folder / "ocr_error")
    make_fast_layout(folder / "fast_layout")
    # marker downloads a font unless this file exists; for PDFs it is not opened.
    (folder / "font.ttf").touch()
    settings = {
        "FAST_LAYOUT_MODEL_CHECKPOINT": f"{final}/fast_layout",
        # Not there: the order is then the raster's (asked for only on pages
        # without a text layer).
        "FAST_ORDER_MODEL_CHECKPOINT": f"{final}/no_order_model",
        "OCR_ERROR_MODEL_CHECKPOINT": f"{final}/ocr_error",
        "FONT_PATH": f"{final}/font.ttf",
        "HF_HUB_OFFLINE": "1",
        "TORCH_DEVICE": "cpu",
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()]
    (folder / "env.sh").write_text("".join(lines))
    (folder / "env.json").write_text(json.dumps(settings, indent=2) + "\n")


def make_ocr_error(folder):
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    folder.mkdir(parents=True)
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


def make_fast_layout(folder):
    from surya.common.order.order_ar import LAYOUT_CLASSES
    from surya.common.rfdetr.models import build_model
    from surya.common.rfdetr.predictor import LARGE_ARGS

    folder.mkdir(parents=True)
    arguments = SimpleNamespace(**LARGE_ARGS)
    # Named, so that no backbone is downloaded.
    arguments.device, arguments.pretrain_weights = "cpu", "local"
    model = build_model(arguments)
    model.reinitialize_detection_head(len(LAYOUT_CLASSES) + 1)
    torch.save({"model": model.state_dict()}, folder / "rfdetr_layout.pth")
    categories = [{"id": number, "name": name} for number, name in enumerate(LAYOUT_CLASSES)]
    settings = {"arch": "rf-detr-large", "categories": categories}
    (folder / "config.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    main()
