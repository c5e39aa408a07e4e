"""What the checks against other programs share: ours are run from the folder that is the first word, and each figure is told."""

import pathlib
import subprocess
import sys

BIN = pathlib.Path(sys.argv[1])
failures = 0


def program(name, *words):
    done = subprocess.run([BIN / name, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"FAILED: {name} {' '.join(map(str, words))}: {done.stderr}")


def report(what, good, figure):
    global failures
    failures += not good
    print(f"{'ok' if good else 'FAILED'}: {what}: {figure}", flush=True)


def end():
    sys.exit(1 if failures else 0)
