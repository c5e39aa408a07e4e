#!/usr/bin/env python3
"""Encoding speed beside sentencepiece and Hugging Face's tokenizers, alternating in one run.

usage: tokenizer_speed.py BIN_FOLDER DATA_FOLDER [MEGABYTES]

Each side encodes the same documents, one after the other, on one thread; given is text per second of processor time, the
best of the rounds: on a machine that others use too, wall time would measure them. Ours is the program `tokenize count`, less
what it takes for a text of one line. Both must give the same number of tokens.
"""
import os
import resource
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"
ROUNDS = 3


def program_seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    tokens = int(output.split("\n")[1].split()[1])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, tokens


def ours(program, tokenizer, path, short_path):
    seconds, tokens = program_seconds([program, "count", "--tokenizer", tokenizer, path])
    return seconds - program_seconds([program, "count", "--tokenizer", tokenizer, short_path])[0], tokens


def theirs(encode, documents):
    begin = time.process_time()
    tokens = sum(len(encode(document)) for document in documents)
    return time.process_time() - begin, tokens


def main():
    try:
        import sentencepiece
        import tokenizers
    except ImportError as error:
        print(f"skipped: {error}")
        return 77
    program = os.path.join(sys.argv[1], "tokenize")
    data = sys.argv[2]
    size = int(float(sys.argv[3]) * 1e6) if len(sys.argv) > 3 else 4_000_000
    llama2, gpt2 = f"{data}/tokenizers/llama2/tokenizer.model", f"{data}/tokenizers/gpt2"
    text = open(f"{data}/corpora/openstax_train.txt", encoding="utf-8").read(size)
    documents = [document for document in text.split("<|endoftext|>\n") if document.strip()]
    text_bytes = sum(len(document.encode()) for document in documents)

    piece = sentencepiece.SentencePieceProcessor(model_file=llama2)
    rust = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(f"{gpt2}/vocab.json", f"{gpt2}/merges.txt"))
    rust.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    with tempfile.TemporaryDirectory() as folder:
        path, short_path = os.path.join(folder, "text"), os.path.join(folder, "short")
        with open(path, "w", encoding="utf-8") as file:
            file.write("<|endoftext|>\n".join(documents))
        with open(short_path, "w", encoding="utf-8") as file:
            file.write("one line\n")
        sides = {
            "Llama-2, templar.cpp": lambda: ours(program, llama2, path, short_path),
            "Llama-2, sentencepiece": lambda: theirs(piece.encode, documents),
            "GPT-2, templar.cpp": lambda: ours(program, gpt2, path, short_path),
            "GPT-2, Hugging Face tokenizers": lambda: theirs(lambda document: rust.encode(document).ids, documents),
        }
        best = {name: (float("inf"), 0) for name in sides}
        for _ in range(ROUNDS):
            for name, measure in sides.items():
                best[name] = min(best[name], measure())
    print(f"{text_bytes / 1e6:.1f} MB in {len(documents)} documents, best of {ROUNDS}")
    for name, (seconds, tokens) in best.items():
        print(f"{name:32} {text_bytes / 1e6 / seconds:8.2f} MB/s {tokens:10} tokens")
    same = all(best[f"{kind}, templar.cpp"][1] == best[f"{kind}, {other}"][1]
               for kind, other in (("Llama-2", "sentencepiece"), ("GPT-2", "Hugging Face tokenizers")))
    if not same:
        print("the number of tokens differs")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
