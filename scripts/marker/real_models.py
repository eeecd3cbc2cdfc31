#!/usr/bin/env python3
"""Makes random models of real size, for what memory they take.

    python real_models.py FOLDER [--final FOLDER]

Run with the Python of an environment that has marker-pdf. Like tiny_models.py,
but with the numbers of parameters that real models have: surya's default sizes
for text detection, tables and the picture encoder, DistilBERT's own for the OCR
error model, and a guessed decoder of 10 layers for the two foundation models
(620 million parameters each). They are not the published models, and what they
say about a page means nothing:

  layout        finds nothing, so that a page is one piece of text
  ocr_error     calls every text layer good
  recognition   ends at once without text
  detection, table_rec   random

They are stored in 16 bits, so that a processor, which computes in 32, copies
them when it loads them. 2.8 GB on the disk, 6 GB of memory while they are made.
"""

import argparse
import json
from pathlib import Path

import tiny_models
import torch
from safetensors.torch import load_file, save_file

DECODER = {"hidden_size": 1280, "intermediate_size": 5120, "max_position_embeddings": 8192}
HEADS = {"num_hidden_layers": 10, "num_attention_heads": 16, "num_key_value_heads": 4}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--final", type=Path, help="the folder's name later on")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    final = (arguments.final or folder).absolute()

    torch.manual_seed(tiny_models.SEED)
    make_ocr_error(tiny_models.fresh(folder / "ocr_error"))
    make_detection(tiny_models.fresh(folder / "detection"))
    make_table_rec(tiny_models.fresh(folder / "table_rec"))
    for name in ("recognition", "layout"):
        make_foundation(tiny_models.fresh(folder / name))
    for file in folder.glob("*/model.safetensors"):
        halve(file)
    (folder / "font.ttf").touch()
    tiny_models.write_settings(folder, tiny_models.settings_for(final))


def halve(file):
    """Stores it in 16 bits."""
    tensors = {
        name: tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file, metadata={"format": "pt"})


def make_ocr_error(folder):
    from surya.ocr_error.model.config import DistilBertConfig
    from surya.ocr_error.model.encoder import DistilBertForSequenceClassification

    tiny_models.make_ocr_error(folder)
    words = len((folder / "vocab.txt").read_text().split())
    config = DistilBertConfig(vocab_size=words, num_labels=2)
    config.id2label, config.label2id = {0: "good", 1: "bad"}, {"good": 0, "bad": 1}
    model = DistilBertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([8.0, -8.0]))
    model.save_pretrained(folder)


def make_detection(folder):
    from surya.detection.model.config import EfficientViTConfig
    from surya.detection.model.encoderdecoder import EfficientViTForSemanticSegmentation

    tiny_models.make_detection(folder)
    EfficientViTForSemanticSegmentation(EfficientViTConfig(num_labels=2)).save_pretrained(folder)


def make_table_rec(folder):
    from surya.table_rec.model.config import (
        DonutSwinTableRecConfig, SuryaTableRecConfig, SuryaTableRecDecoderConfig,
    )  # fmt: skip
    from surya.table_rec.model.encoderdecoder import TableRecEncoderDecoderModel

    tiny_models.make_table_rec(folder)
    encoder, decoder = DonutSwinTableRecConfig(), SuryaTableRecDecoderConfig()
    config = SuryaTableRecConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict())
    on_disk = dict(config.to_dict(), encoder=encoder.to_dict(), decoder=decoder.to_dict())
    config.encoder, config.decoder = encoder, decoder
    tiny_models.save_weights(TableRecEncoderDecoderModel(config=config), folder)
    (folder / "config.json").write_text(json.dumps(on_disk, default=str))


def make_foundation(folder):
    from surya.common.surya import SuryaModel

    tokenizer = tiny_models.make_tokenizer()
    tokenizer.save_pretrained(folder)
    config = foundation_config(tokenizer)
    model = SuryaModel(config)
    with torch.no_grad():
        tiny_models.ends_at_once(model, tokenizer.special_to_absid)
    tiny_models.save_weights(model, folder)
    config.save_pretrained(folder)


def foundation_config(tokenizer):
    """That of the tiny models with other sizes."""
    from surya.common.surya.config import SuryaModelConfig

    tiny = tiny_models.foundation_config(tokenizer).to_dict()
    keep = ("vocab_size", "eos_token_id", "pad_token_id", "bos_token_id", "image_token_id", "register_token_ids",
            "eoi_token_id", "beacon_token_id", "special_ocr_tokens")
    config = SuryaModelConfig(
        **{name: tiny[name] for name in keep}, bbox_embed_size=64, vision_encoder={},
        decoder={"vocab_size": tokenizer.vocab_size, **DECODER, **HEADS}, **HEADS,
    )  # fmt: skip
    config.vision_encoder._attn_implementation = "sdpa"
    config.decoder._attn_implementation = "sdpa"
    return config


if __name__ == "__main__":
    main()
