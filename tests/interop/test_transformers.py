"""Transformers loads what this project exports, and agrees on logits and token ids.

usage: test_transformers.py BIN_FOLDER      (interop, export and import are there; $TEMPLAR_DATA, if set, has real models)
Run by ctest through test_transformers.sh, which skips it where Transformers is not installed.
"""

import json
import os
import pathlib
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch
import transformers
from checks import end, program, report
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

DATA = pathlib.Path(os.environ["TEMPLAR_DATA"]) if os.environ.get("TEMPLAR_DATA") else None
LENGTH = 64


def our_logits(folder, ids, scratch):
    ids.astype("<i4").tofile(scratch / "ids")
    program("interop", "logits", folder, scratch / "ids", scratch / "logits", ids.shape[1])
    return np.fromfile(scratch / "logits", "<f4").reshape(*ids.shape, -1)


def compare_logits(what, folder, scratch, dtype=torch.float32, limit=1e-4):
    """Ours against those of the same folder in Transformers, computed in fp32."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        report(f"{what}: {key}", not info[key], sorted(info[key]) or "none")
    stored = torch.float32 if dtype == torch.float32 else torch.bfloat16
    report(f"{what}: dtype", model.dtype == stored, model.dtype)
    ids = np.random.default_rng(1).integers(0, model.config.vocab_size, (2, LENGTH))
    with torch.no_grad():
        theirs = model.float()(torch.tensor(ids)).logits.numpy()
    difference = float(np.abs(theirs - our_logits(folder, ids, scratch)).max())
    report(f"{what}: largest difference of logits (of {np.abs(theirs).max():.3g})", difference <= limit, f"{difference:.3g}")


def texts(name):
    rows = []
    for path in sorted((DATA / "tokenizers/vectors").glob(name)):
        rows += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return rows


def ids(tokenizer, text):
    """As here: names of special tokens in a text are text."""
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)


def compare_ids(what, folder, rows):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wrong = [row["text"] for row in rows if ids(tokenizer, row["text"]) != row["ids"]]
    report(f"{what}: texts with other ids", not wrong, f"{len(wrong)} of {len(rows)}" + (f", first {wrong[0]!r}" if wrong else ""))
    special = [(tokenizer.bos_token_id, tokenizer.eos_token_id)]
    print(f"    {type(tokenizer).__name__}, begin and end token {special[0]}")


def random_models(scratch):
    folder = scratch / "random"
    program("interop", "random-model", folder, 96)
    compare_logits("random model, grouped-query, tied, sharded", folder, scratch)
    program("export", folder, scratch / "random-bf16")
    compare_logits("the same in bf16", scratch / "random-bf16", scratch, dtype="auto")

    # The other way: what Transformers saves is read here.
    for tied in (False, True):
        config = LlamaConfig(vocab_size=80, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
                             num_key_value_heads=2, tie_word_embeddings=tied, rope_theta=20000.0, initializer_range=0.3)
        torch.manual_seed(3)
        LlamaForCausalLM(config).save_pretrained(scratch / f"theirs-{tied}", max_shard_size="20KB")
        compare_logits(f"saved by Transformers, tied {tied}", scratch / f"theirs-{tied}", scratch)
        program("import", scratch / f"theirs-{tied}", scratch / f"imported-{tied}")
        compare_logits(f"and imported, tied {tied}", scratch / f"imported-{tied}", scratch)


def real_models(scratch):
    stories = DATA / "models/stories260K"
    program("import", stories / "stories260K.bin", scratch / "stories")
    compare_logits("stories260K from llama2.c", scratch / "stories", scratch)
    program("export", stories, scratch / "stories-untied", "--dtype", "f32", "--tokenizer", stories / "tok512.bin")
    compare_logits("stories260K untied", scratch / "stories-untied", scratch)
    rows = texts("llama2_*.jsonl")
    for row in rows:
        (scratch / "text").write_bytes(row["text"].encode())
        program("interop", "ids", stories / "tok512.bin", scratch / "text", scratch / "ids")
        row["ids"] = np.fromfile(scratch / "ids", "<i4").tolist()
    compare_ids("stories260K, tok512", scratch / "stories", rows)
    for name, vocab_size in (("llama2", 32000), ("gpt2", 50257)):
        program("interop", "random-model", scratch / name, vocab_size)
        program("export", scratch / name, scratch / f"{name}-whole", "--tokenizer", DATA / "tokenizers" / name)
        compare_ids(name, scratch / f"{name}-whole", texts(f"{name}_*.jsonl"))


def trained_sentencepiece(scratch):
    """A model with spm_train's defaults: charsmap, spaces trimmed."""
    try:
        import sentencepiece
    except ImportError as error:
        return print(f"without models of sentencepiece: {error}")
    model = scratch / "spm.model"
    sentencepiece.SentencePieceTrainer.train(input=str(DATA / "corpora/tinyshakespeare.txt"), model_prefix=str(model.with_suffix("")),
                                             model_type="bpe", vocab_size=1000, user_defined_symbols=["<sep>"], minloglevel=2)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    rows = [{"text": text, "ids": pieces.encode(text)} for text in
            [row["text"] for row in texts("llama2_*.jsonl")] + ["<sep>a <sep> b  ", "\uff21\ufb01 \u2460", "\t\n", "e\u0301"]]
    program("interop", "random-model", scratch / "spm", 1000)
    program("export", scratch / "spm", scratch / "spm-whole", "--tokenizer", model)
    compare_ids("sentencepiece's defaults", scratch / "spm-whole", rows)


print(f"transformers {transformers.__version__}, torch {torch.__version__}")
with tempfile.TemporaryDirectory() as name:
    random_models(pathlib.Path(name))
    if DATA:
        real_models(pathlib.Path(name))
        trained_sentencepiece(pathlib.Path(name))
    else:
        print("TEMPLAR_DATA is unset: no real models")
end()
