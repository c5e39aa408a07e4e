#!/bin/sh
# Runs test_lm_eval.py with $TEMPLAR_PYTHON (default: python3); skipped (77) where that has no lm-eval 0.4.9, or without data.
# usage: test_lm_eval.sh SOURCE_FOLDER BIN_FOLDER
python=${TEMPLAR_PYTHON:-python3}
if [ -z "$TEMPLAR_DATA" ]; then
    echo "skipped: TEMPLAR_DATA is unset"
    exit 77
fi
if ! "$python" -c "
from importlib.metadata import version
import lm_eval.models.huggingface
assert version('lm_eval') == '0.4.9'" 2>/dev/null; then
    echo "skipped: $python has no lm_eval 0.4.9 that runs, with torch and transformers 4 (TEMPLAR_PYTHON names another python)"
    exit 77
fi
exec "$python" "$1/tests/interop/test_lm_eval.py" "$2"
