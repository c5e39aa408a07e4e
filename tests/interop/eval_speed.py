"""Seconds that build/bin/eval and lm-eval 0.4.9's HFLM need for the same rows: a random model of SmolLM2-135M's shape with GPT-2's
tokens, fp32 on the CPU, two threads, in turn in one run.

    TEMPLAR_DATA=DATA python3 tests/interop/eval_speed.py build/bin [requests]

Needs lm_eval 0.4.9 with torch. Only answering is counted: of HFLM its loglikelihood(), with the best of BATCHES; of eval what the
command needs less what it needs again, when all its rows are answered. Wall-clock seconds mean something on a machine left alone,
processor seconds on any.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from lm_eval_data import BENCHMARKS, DATA, FILES, HFLM, harness, samples_of

import torch
import transformers

THREADS, ROUNDS, BATCHES = 2, 2, (1, 8)
CHOICES = {"piqa": 2, "hellaswag": 4, "mmlu": 4 * 57}  # for one more of --limit


class TimedHFLM(HFLM):
    def loglikelihood(self, requests, disable_tqdm=True):
        wall, processor = time.perf_counter(), time.process_time()
        answers = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        self.seconds = time.perf_counter() - wall, time.process_time() - processor
        return answers


def random_model(binaries, scratch):
    config = transformers.LlamaConfig(
        vocab_size=50257, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=2048, rope_theta=100000.0, tie_word_embeddings=True)
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(scratch / "plain")
    subprocess.run([f"{binaries}/export", scratch / "plain", scratch / "model", "--dtype", "f32", "--tokenizer",
                    DATA / "tokenizers/gpt2"], check=True, capture_output=True)
    return scratch / "model"


def theirs(model, task, limit):
    """Answers by row, (wall, processor) seconds."""
    results = harness(model, [task], limit)
    answers = {i: [ll for ll, _ in sample["filtered_resps"]] for i, sample in samples_of(task, results).items()}
    return answers, model.seconds


def timed(command):
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(binaries, folder, task, limit, rows):
    rows.unlink(missing_ok=True)
    command = [f"{binaries}/eval", folder, "--tasks", task, "--file", f"{task}={BENCHMARKS / FILES[task]}", "--limit", str(limit),
               "--rows", rows, "--device", "cpu", "--threads", str(THREADS)]
    whole, loading = timed(command), timed(command)
    return {row["i"]: row["ll"] for row in map(json.loads, rows.open()) if "i" in row}, (whole[0] - loading[0], whole[1] - loading[1])


def compare(binaries, folder, model, task, limit, scratch):
    for number in range(1, ROUNDS + 1):
        tries = []
        for model.batch_size_per_gpu in BATCHES:
            expected, seconds = theirs(model, task, limit)
            tries.append((*seconds, model.batch_size_per_gpu))
        wall, processor, batch = min(tries)
        found, (our_wall, our_processor) = ours(binaries, folder, task, limit, scratch / "rows")
        difference = max(abs(a - b) for i in expected for a, b in zip(expected[i], found[i], strict=True))
        print(f"{task}, {len(expected)} rows, round {number}: eval {our_wall:.1f} s ({our_processor:.1f} of processors), HFLM {wall:.1f} "
              f"({processor:.1f}) in batches of {batch}, ratio {wall / our_wall:.2f} ({processor / our_processor:.2f}); "
              f"log-likelihoods within {difference:.1g}", flush=True)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    requests = int(sys.argv[2]) if len(sys.argv) > 2 else 80
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        folder = random_model(sys.argv[1], scratch)
        model = TimedHFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=1)
        for task, choices in CHOICES.items():
            compare(sys.argv[1], folder, model, task, max(1, requests // choices), scratch)


main()
