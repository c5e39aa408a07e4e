"""Text and tokens per second of build/bin/generate beside llama2.c's run, greedy, fp32, two threads, in turn in one run.

    python3 tests/interop/llama2c_speed.py build/bin RUN TOKENIZER.bin [MODEL.bin] [--steps N]

RUN is llama2.c's run.c, compiled: gcc -Ofast -fopenmp -march=native -o run run.c -lm. Without MODEL.bin a random model of the size of
llama-110m is made (numpy). Wall-clock seconds: leave the machine alone meanwhile. Both measure themselves after start and loading, run with
the prompt's few tokens. The bound is one reading of the weights per token, at the rate that build/bin/bench measures in the same run.
"""

import argparse
import json
import os
import re
import struct
import subprocess
import tempfile

THREADS, ROUNDS = 2, 3
PROMPTS = ["Once upon a time", "Lily and Tim went to the park. They saw", "The sun was hot, so"]


def write_random_model(path):
    import numpy

    dim, hidden, layers, heads, vocab, seq = 768, 2048, 12, 12, 32000, 1024
    random = numpy.random.default_rng(0)

    def normal(file, *shape):
        file.write((random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(0.02)).tobytes())

    def ones(file, *shape):
        file.write(numpy.ones(shape, dtype=numpy.float32).tobytes())

    with open(path, "wb") as file:
        file.write(struct.pack("<7i", dim, hidden, layers, heads, heads, vocab, seq))
        normal(file, vocab, dim)
        ones(file, layers, dim)
        for _ in range(4):  # query, key, value, output
            normal(file, layers, dim, dim)
        ones(file, layers, dim)
        for shape in ((hidden, dim), (dim, hidden), (hidden, dim)):
            normal(file, layers, *shape)
        ones(file, dim)
        ones(file, 2, seq, dim // heads // 2)  # tables of angles that nobody reads any more


def token_bytes(path):
    """Bytes of weights that a token reads: all but the tables of angles; an embedding that is not tied is not read."""
    with open(path, "rb") as file:
        dim, hidden, layers, heads, kv_heads, vocab, _ = struct.unpack("<7i", file.read(28))
    attention = 2 * dim * dim + 2 * dim * (dim * kv_heads // heads)
    return 4 * (abs(vocab) * dim + dim + layers * (attention + 3 * dim * hidden + 2 * dim))


def last_rate(pattern, text):
    return float(re.findall(pattern, text.decode())[-1])


def theirs(run, model, tokenizer, prompt, steps):
    done = subprocess.run([run, model, "-z", tokenizer, "-t", "0", "-n", str(steps), "-i", prompt],
                          env={**os.environ, "OMP_NUM_THREADS": str(THREADS)}, capture_output=True, check=True)
    return last_rate(r"achieved tok/s: ([\d.]+)", done.stderr), done.stdout


def ours(binaries, model, tokenizer, prompt, steps):
    done = subprocess.run([f"{binaries}/generate", model, "--tokenizer", tokenizer, "--prompt", prompt, "--temperature", "0",
                           "--tokens", str(steps), "--threads", str(THREADS)], capture_output=True, check=True)
    return last_rate(r"generated: .*?([\d.e+]+) tokens/s", done.stderr), done.stdout


def same(ours_text, their_text):
    """run counts the prompt's tokens as steps, so its text may end earlier; it leaves bytes outside ASCII out."""
    ascii_only = [bytes(byte for byte in text if byte < 128).rstrip(b"\n") for text in (ours_text, their_text)]
    return len(ascii_only[1]) > 0 and ascii_only[0].startswith(ascii_only[1])


def read_gbytes(binaries):
    done = subprocess.run([f"{binaries}/bench", "matmul/one-token", "--json", "--threads", str(THREADS), "--seconds", "0.3"],
                          capture_output=True, check=True)
    return json.loads(done.stdout)["read_gbytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("binaries", "run", "tokenizer"):
        parser.add_argument(name)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--steps", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or os.path.join(folder, "random.bin")
        if not options.model:
            write_random_model(model)
        for prompt in PROMPTS * ROUNDS:
            their_speed, their_text = theirs(options.run, model, options.tokenizer, prompt, options.steps)
            speed, text = ours(options.binaries, model, options.tokenizer, prompt, options.steps)
            reading = read_gbytes(options.binaries)
            bound = reading * 1e9 / token_bytes(model)
            print(f"generate {speed:.1f} tokens/s, run {their_speed:.1f}, ratio {speed / their_speed:.2f}; read {reading:.1f} GB/s: "
                  f"at most {bound:.0f}, reached {speed / bound:.2f}; same text: {'yes' if same(text, their_text) else 'no'}",
                  flush=True)


main()
