#!/usr/bin/env python3
"""Encoding speed beside sentencepiece, Hugging Face's tokenizers and tiktoken, alternating in one run.

usage: tokenizer_speed.py BIN_FOLDER DATA_FOLDER [MEGABYTES]

Each side encodes the same documents, one after the other, on one thread; given is text per second of processor time, the
best of the rounds: on a machine that others use too, wall time would measure them. Ours is the program `tokenize count`, less
what it takes for a text of one line. All must give the same number of tokens. Llama-3 is measured where DATA_FOLDER has
tokenizers/llama3/tokenizer.json and tiktoken is installed.
"""
import json
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


def tiktoken_of(path):
    """The same vocabulary and pattern in tiktoken: bytes by rank; in the file each byte is spelled as a character."""
    import tiktoken
    file = json.load(open(path, encoding="utf-8"))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = printable + [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte if i < len(printable) else 256 + i - len(printable)): byte for i, byte in enumerate(spelled)}
    ranks = {bytes(byte_of[c] for c in token): rank for token, rank in file["model"]["vocab"].items()}
    pattern = file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    return tiktoken.Encoding("llama3", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def llama3_sides(path, count, documents):
    import tokenizers
    if not os.path.exists(path):
        return {}
    try:
        tiktoken = tiktoken_of(path)
    except ImportError as error:
        print(f"without Llama-3: {error}")
        return {}
    rust = tokenizers.Tokenizer.from_file(path)
    rust.encode_special_tokens = True
    return {
        "Llama-3, templar.cpp": lambda: count(path),
        "Llama-3, tiktoken": lambda: theirs(tiktoken.encode_ordinary, documents),
        "Llama-3, Hugging Face tokenizers":
            lambda: theirs(lambda document: rust.encode(document, add_special_tokens=False).ids, documents),
    }


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
        sides |= llama3_sides(f"{data}/tokenizers/llama3/tokenizer.json",
                              lambda tokenizer: ours(program, tokenizer, path, short_path), documents)
        best = {name: (float("inf"), 0) for name in sides}
        for _ in range(ROUNDS):
            for name, measure in sides.items():
                best[name] = min(best[name], measure())
    print(f"{text_bytes / 1e6:.1f} MB in {len(documents)} documents, best of {ROUNDS}")
    for name, (seconds, tokens) in best.items():
        print(f"{name:32} {text_bytes / 1e6 / seconds:8.2f} MB/s {tokens:10} tokens")
    counts = {}
    for name, (_, tokens) in best.items():
        counts.setdefault(name.split(",")[0], set()).add(tokens)
    same = all(len(tokens) == 1 for tokens in counts.values())
    if not same:
        print("the number of tokens differs")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
