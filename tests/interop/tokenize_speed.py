#!/usr/bin/env python3
"""A text file to a file of GPT-2 tokens: `tokenize encode` beside the same job in Python with Hugging Face's encode_batch.

usage: tokenize_speed.py BIN_FOLDER DATA_FOLDER [MEGABYTES]

Whole processes with all they read and write, alternating, the best of three rounds: wall time, and processor time, which counts
where others use the machine too. Both must write the same bytes.
"""
import os
import resource
import subprocess
import sys
import tempfile
import time

ROUNDS = 3
PEER = """
import sys, numpy, tokenizers
folder, path, out = sys.argv[1:]
tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(folder + "/vocab.json", folder + "/merges.txt"))
tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
documents = open(path, encoding="utf-8", newline="").read().split("<|endoftext|>\\n")
documents = [document for document in documents if document.strip()]
with open(out, "wb") as file:
    for first in range(0, len(documents), 256):
        for encoding in tokenizer.encode_batch(documents[first:first + 256]):
            file.write(numpy.array(encoding.ids + [50256], dtype=numpy.uint16).tobytes())
"""


def seconds(command, environment):
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    return end - begin, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    try:
        import numpy, tokenizers  # noqa: F401
    except ImportError as error:
        print(f"skipped: {error}")
        return 77
    program, data = os.path.join(sys.argv[1], "tokenize"), sys.argv[2]
    size = int(float(sys.argv[3]) * 1e6) if len(sys.argv) > 3 else 8_000_000
    gpt2, processors = f"{data}/tokenizers/gpt2", len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        path, theirs, ours = (os.path.join(folder, name) for name in ("text", "theirs.u16", "ours"))
        with open(path, "wb") as file, open(f"{data}/corpora/openstax_train.txt", "rb") as corpus:
            file.write(corpus.read(size).decode(errors="ignore").encode())
        sides = {}
        for threads in sorted({1, processors}):
            sides[f"templar.cpp, {threads} threads"] = (
                ["sh", "-c", f"rm -rf {ours}; exec {program} encode --raw --heldout-share 0 --threads {threads} "
                             f"--tokenizer {gpt2} --out {ours} {path}"], {})
            sides[f"Hugging Face tokenizers, {threads} threads"] = (
                [sys.executable, "-c", PEER, gpt2, path, theirs],
                {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"})
        best = {}
        for _ in range(ROUNDS):
            for name, (command, environment) in sides.items():
                now = seconds(command, environment)
                best[name] = tuple(map(min, best.get(name, now), now))
        megabytes = os.path.getsize(path) / 1e6
        same = open(theirs, "rb").read() == open(f"{ours}/train.u16", "rb").read()
    print(f"{megabytes:.1f} MB, best of {ROUNDS}; the bytes are {'the same' if same else 'DIFFERENT'}")
    for name, (wall, cpu) in best.items():
        print(f"{name:36} {megabytes / wall:7.2f} MB/s of wall time {megabytes / cpu:7.2f} MB/s of processor time")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
