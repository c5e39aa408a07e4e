"""lm-eval's own tasks over local rows: what they would download is made from $TEMPLAR_DATA/benchmarks, in the original columns."""

import functools
import json
import logging
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TQDM_DISABLE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import datasets

DATA = pathlib.Path(os.environ["TEMPLAR_DATA"])
BENCHMARKS = DATA / "benchmarks"
TEXT = DATA / "corpora" / "fineweb_edu_sample.jsonl"

# The file that each task's rows are in; both programs read it.
FILES = {
    "hellaswag": "hellaswag_validation.raw1000.jsonl", "piqa": "piqa_validation.jsonl", "arc_easy": "arc_easy_test.jsonl",
    "arc_challenge": "arc_challenge_test.jsonl", "openbookqa": "openbookqa_test.jsonl",
    "winogrande": "winogrande_xl_validation.jsonl", "boolq": "boolq_validation.jsonl", "mmlu": "mmlu_test.jsonl",
    "lambada_openai": "lambada_openai_test.jsonl",
}


@functools.cache
def read_rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def with_labels(row):
    labels = [chr(ord("A") + k) for k in range(len(row["choices"]))]
    return {**row, "choices": {"text": row["choices"], "label": labels}, "answerKey": labels[row["gold"]]}


# By the address that lm-eval's task asks for: the task (None: its other name says), and a row in the original columns.
ORIGINALS = {
    "hellaswag": ("hellaswag", lambda row: {**row, "label": str(row["label"])}),
    "baber/piqa": ("piqa", dict),
    "allenai/ai2_arc": (None, with_labels),
    "openbookqa": ("openbookqa", with_labels),
    "winogrande": ("winogrande", dict),
    "super_glue": ("boolq", lambda row: {**row, "label": int(row["answer"])}),
    "cais/mmlu": ("mmlu", dict),
    "EleutherAI/lambada_openai": ("lambada_openai", lambda row: {"text": row["context"] + " " + row["continuation"]}),
}


def load_dataset(path, name=None, **_):
    """In place of datasets.load_dataset. Zero-shot: every split is the rows that are evaluated."""
    if path == "NeelNanda/pile-10k":  # whose task takes texts as they are
        rows = [{"text": row["text"]} for row in read_rows(TEXT)]
    else:
        task, original = ORIGINALS[path]
        task = task or name.lower().replace("-", "_")
        rows = [original(row) for row in read_rows(BENCHMARKS / FILES[task])]
        if task == "mmlu":
            rows = [row for row in rows if row["subject"] == name]
    rows = datasets.Dataset.from_list(rows)
    return {split: rows for split in ("train", "validation", "test", "dev")}


datasets.load_dataset = load_dataset
logging.disable(logging.WARNING)

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager


@functools.cache
def task_manager():
    return TaskManager()


def harness(model, tasks, limit=None):
    """What simple_evaluate() gives, with its samples."""
    return lm_eval.simple_evaluate(model=model, tasks=tasks, num_fewshot=0, limit=limit, log_samples=True,
                                   task_manager=task_manager())


def samples_of(task, results):
    """The samples of one of our tasks by their row in its file."""
    if task != "mmlu":
        return {sample["doc_id"]: sample for sample in results["samples"][task]}
    rows_of = {}
    for i, row in enumerate(read_rows(BENCHMARKS / FILES[task])):
        rows_of.setdefault(row["subject"], []).append(i)
    return {rows[sample["doc_id"]]: sample for subject, rows in rows_of.items()
            for sample in results["samples"].get("mmlu_" + subject, [])}
