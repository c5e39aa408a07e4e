#!/bin/sh
# Runs test_transformers.py with $TEMPLAR_PYTHON (default: python3); skipped (77) where that has no Transformers.
# usage: test_transformers.sh SOURCE_FOLDER BIN_FOLDER
python=${TEMPLAR_PYTHON:-python3}
if ! "$python" -c "import numpy, torch, transformers" 2>/dev/null; then
    echo "skipped: $python has no transformers with torch and numpy (TEMPLAR_PYTHON names another python)"
    exit 77
fi
exec "$python" "$1/tests/interop/test_transformers.py" "$2"
