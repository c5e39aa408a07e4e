"""Tokens per second of build/bin/generate beside Hugging Face's transformers: the same random model of the size of llama-110m,
greedy, fp32, a key/value cache, two threads, the same prompt, in turn in one run.

    python3 tests/interop/generate_speed.py build/bin TOKENIZER.model TEXT [new tokens]

Needs torch, transformers and sentencepiece. Wall-clock seconds: leave the machine alone meanwhile. generate measures itself without
start and loading, both wait as they do by default; of transformers the time of the first token, which is the prompt's, is measured apart.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import sentencepiece
import torch
import transformers

THREADS, ROUNDS, PROMPT_CHARACTERS = 2, 3, 700


def random_model(folder):
    config = transformers.LlamaConfig(
        vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
        num_key_value_heads=12, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)
    model = transformers.LlamaForCausalLM(config).float().eval()
    model.save_pretrained(folder)
    return model


def theirs(model, prompt, count):
    ids = torch.tensor([prompt])
    started = time.perf_counter()
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count,
                             do_sample=False, use_cache=True, pad_token_id=0, eos_token_id=None)
    return time.perf_counter() - started, out[0, len(prompt):].tolist()


def ours(program, folder, tokenizer, prompt_file, count):
    done = subprocess.run(
        [program, folder, "--tokenizer", tokenizer, "--prompt-file", prompt_file, "--no-echo", "--temperature", "0",
         "--tokens", str(count), "--threads", str(THREADS)], capture_output=True, check=True)
    speeds = re.findall(r"([\d.e+]+) tokens/s", done.stderr.decode())
    return float(speeds[0]), float(speeds[1]), done.stdout.decode(errors="replace")


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    binaries, tokenizer, text = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 128
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    pieces = sentencepiece.SentencePieceProcessor(model_file=tokenizer)
    prompt = pathlib.Path(text).read_text()[:PROMPT_CHARACTERS].rsplit(" ", 1)[0]
    ids = [1] + pieces.encode(prompt)
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(folder)
        prompt_file = os.path.join(folder, "prompt.txt")
        pathlib.Path(prompt_file).write_text(prompt)
        theirs(model, ids, 2)
        for round_number in range(1, ROUNDS + 1):
            first, _ = theirs(model, ids, 1)
            whole, new = theirs(model, ids, count + 1)
            their_speed = count / (whole - first)
            prompt_speed, speed, written = ours(f"{binaries}/generate", folder, tokenizer, prompt_file, count + 1)
            same = written.strip() == pieces.decode(new).strip()
            print(f"round {round_number}: generate {speed:.1f} tokens/s, transformers {their_speed:.1f}, "
                  f"ratio {speed / their_speed:.2f}; prompt {prompt_speed:.0f} and {len(ids) / first:.0f}; "
                  f"same text: {'yes' if same else 'no'}", flush=True)


main()
