#!/bin/sh
# Print the first Python that can make the environment: 3.11 or newer, with venv and ensurepip. PYTHON=… names one.
# A candidate is run, not only looked up: pyenv, for one, leaves commands in the path that do not work.

for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if ! "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        old="$old $candidate=$version"
    elif ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
        bare="${bare:-$candidate $version}"
    else
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done

if [ -n "$bare" ]; then
    set -- $bare
    echo "clexlab: $1 (Python $2) lacks venv or ensurepip." >&2
    echo "  Debian or Ubuntu: sudo apt install python$2-venv   then run make again." >&2
elif [ -n "$PYTHON" ]; then
    echo "clexlab: PYTHON=$PYTHON is not a Python 3.11 or newer that runs${old:+ (found:$old)}." >&2
else
    echo "clexlab needs Python 3.11 or newer; none was found${old:+ (found:$old)}." >&2
    echo "  macOS: brew install python@3.13    Debian 12 or Ubuntu 24.04: sudo apt install python3 python3-venv" >&2
    echo "  Or name one: make lab PYTHON=/path/to/python3.12" >&2
fi
exit 1
