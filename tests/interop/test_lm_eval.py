"""eval asks what lm-eval 0.4.9 asks, of every row, and finds what its HFLM finds, of some rows and two small models.

usage: test_lm_eval.py BIN_FOLDER      (eval, export and interop are there; $TEMPLAR_DATA has models and benchmarks)
Run by ctest through test_lm_eval.sh, which skips it where lm-eval is not installed.
"""

import json
import math
import pathlib
import tempfile

import lm_eval_data
from checks import end, program, report
from lm_eval_data import BENCHMARKS, DATA, FILES, HFLM, TEXT, harness, read_rows, samples_of

ROWS = 40  # of each task; of MMLU's subjects a tenth


def gold_of(task, sample):
    return int(sample["doc"]["answer"]) - 1 if task == "winogrande" else sample["target"] if task != "lambada_openai" else 0


def compare_questions(scratch):
    results = harness("dummy", list(FILES))
    for task, file in FILES.items():
        program("interop", "questions", task, BENCHMARKS / file, scratch / task)
        ours = read_rows(scratch / task)
        theirs = samples_of(task, results)
        wrong = [i for i, question in enumerate(ours) if question["asked"] != [list(pair) for pair in theirs[i]["arguments"]]
                 or question["gold"] != int(gold_of(task, theirs[i]))]
        report(f"{task}: rows asked otherwise", not wrong and len(ours) == len(theirs),
               f"{len(wrong)} of {len(theirs)}" + (f", first {wrong[0]}" if wrong else ""))


def our_answers(folder, scratch, tasks, limit, *options):
    for name in ("rows", "out"):
        (scratch / name).unlink(missing_ok=True)
    program("eval", folder, "--limit", limit, "--rows", scratch / "rows", "--out", scratch / "out", "--device", "cpu", *options,
            *(["--tasks", ",".join(tasks)] if tasks else []),
            *(word for task in tasks for word in ("--file", f"{task}={BENCHMARKS / FILES[task]}")))
    rows = list(map(json.loads, (scratch / "rows").open()))
    return rows, json.loads((scratch / "out").read_text())["results"]


def tolerance(loglikelihood):
    """Of two sums of fp32 log-probabilities: those differ by some 1e-5 each, and HFLM adds them in fp32."""
    return 2e-4 + 1e-6 * abs(loglikelihood)


def compare_rows(what, task, rows, theirs):
    ours = {row["i"]: row for row in rows if row.get("task") == task}
    report(f"{what}: rows", set(ours) == set(theirs), len(ours))
    largest, share, greedy, wrong = 0, 0, 0, 0
    for i, sample in theirs.items():
        answers = sample["filtered_resps"]
        for ours_ll, (ll, _) in zip(ours[i]["ll"], answers, strict=True):
            largest = max(largest, abs(ours_ll - ll))
            share = max(share, abs(ours_ll - ll) / tolerance(ll))
        greedy += ours[i]["is_greedy"] != [is_greedy for _, is_greedy in answers]
        if len(answers) > 1:  # LAMBADA's one answer is right where it is greedy
            wrong += any(sample.get(figure, hit) != hit for figure, hit in
                         (("acc", ours[i]["pred"] == ours[i]["gold"]), ("acc_norm", ours[i]["pred_norm"] == ours[i]["gold"])))
    report(f"{what}: largest difference of a log-likelihood", share <= 1, f"{largest:.2g}, {share:.0%} of what is allowed")
    report(f"{what}: rows with another is_greedy, acc or acc_norm", greedy + wrong == 0, greedy + wrong)


def their_figures(results):
    return {name.removesuffix(",none"): value for name, value in results.items() if name.endswith(",none") and value != "N/A"}


def compare_figures(what, ours, theirs):
    """Of any number of results, by their names."""
    pairs = {f"{name} {figure}".strip(): (ours[name][figure], value)
             for name, results in theirs.items() for figure, value in their_figures(results).items()}
    # Perplexities have exponents that differ as the log-likelihoods do; the others are shares of equal counts.
    wrong = [f"{name} {a:.9g} and {b:.9g}" for name, (a, b) in pairs.items()
             if not math.isclose(a, b, rel_tol=1e-5 if "perplexity" in name or "bits" in name else 1e-12)]
    report(f"{what}: figures", pairs and not wrong, ", ".join(wrong or [f"{name} {pair[0]:.6g}" for name, pair in [*pairs.items()][:6]]))


def compare_mmlu(what, ours, theirs):
    """In all, and of its 4 groups and 57 subjects."""
    parts = {**ours["groups"], **ours["subjects"]}
    report(f"{what}: parts", len(parts) == 61, len(parts))
    compare_figures(what, {"": ours, **parts}, {"": theirs["mmlu"], **{name: theirs["mmlu_" + name] for name in parts}})


def compare_answers(name, folder, scratch):
    model = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=8)
    for tasks, limit in (([task for task in FILES if task != "mmlu"], ROWS), (["mmlu"], ROWS // 10)):
        theirs = harness(model, tasks, limit)
        rows, ours = our_answers(folder, scratch, tasks, limit)
        for task in tasks:
            compare_rows(f"{name}, {task}", task, rows, samples_of(task, theirs))
            if task == "mmlu":
                compare_mmlu(f"{name}, mmlu", ours[task], theirs["results"])
            else:
                compare_figures(f"{name}, {task}", {"": ours[task]}, {"": theirs["results"][task]})
    compare_texts(name, model, folder, scratch)


def compare_texts(name, model, folder, scratch, *options):
    _, ours = our_answers(folder, scratch, [], 4, "--text", TEXT, *options)
    compare_figures(f"{name}, texts", {"": ours[f"perplexity {TEXT}"]}, {"": harness(model, ["pile_10k"], 4)["results"]["pile_10k"]})


def compare_begin_token(name, folder, scratch):
    """--bos is add_bos_token=True."""
    model = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=8, add_bos_token=True)
    rows, _ = our_answers(folder, scratch, ["arc_easy"], ROWS, "--bos")
    compare_rows(f"{name}, arc_easy", "arc_easy", rows, samples_of("arc_easy", harness(model, ["arc_easy"], ROWS)))
    compare_texts(name, model, folder, scratch, "--bos")


def main():
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        compare_questions(scratch)
        stories = DATA / "models/stories260K"
        program("export", stories, scratch / "stories", "--dtype", "f32", "--tokenizer", stories / "tok512.bin")
        compare_answers("stories260K", scratch / "stories", scratch)
        compare_begin_token("stories260K after begin tokens", scratch / "stories", scratch)
        program("interop", "random-model", scratch / "random", 50257)
        program("export", scratch / "random", scratch / "gpt2", "--dtype", "f32", "--tokenizer", DATA / "tokenizers/gpt2")
        compare_answers("random, GPT-2's tokens", scratch / "gpt2", scratch)
    end()


main()
