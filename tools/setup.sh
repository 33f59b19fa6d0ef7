# Makes one of the repository's virtual environments and brings it up to date. To be sourced: `source tools/setup.sh`.
#
# $VERSIONS chooses which: pinned (unless set), in .venv, has the versions of constraints.txt; minimum, in .venv-minimum, the
# lowest that pyproject.toml declares; newest, in .venv-newest, whatever the index has today. Afterwards $ROOT is the
# repository and $PYTHON the environment's interpreter, with onnx_ig (editable) and the extras cpu, torch, viz, audio, tables,
# text, openvino, opencv, tract, mnn, browser and test, and docs where the versions are pinned. The one idea: a stamp, written last, holds the hash of all that decides what is
# installed, so an interrupted installation is never taken for a finished one and a finished one is not repeated.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
case "${VERSIONS:=pinned}" in
pinned) SUFFIX= ;;
minimum | newest) SUFFIX="-$VERSIONS" ;;
*)
    echo "setup: VERSIONS is $VERSIONS: choose pinned, minimum or newest" >&2
    exit 2
    ;;
esac
VENV="$ROOT/.venv$SUFFIX"
CONSTRAINTS="constraints$SUFFIX.txt"
PYTHON="$VENV/bin/python"
EXTRAS=cpu,torch,viz,audio,tables,text,openvino,opencv,tract,mnn,browser,test
[ "$VERSIONS" != pinned ] || EXTRAS+=,docs

# Exit status 0 if interpreter $1 starts, is new enough, and can import the modules named after it.
python_has() {
    "$1" -c 'import importlib, sys
for name in sys.argv[1:]: importlib.import_module(name)
sys.exit(sys.version_info < (3, 11))' "${@:2}" >/dev/null 2>&1
}

# Prints the first interpreter that can make the environment; says what is missing if there is none.
find_python() {
    local candidate found_without_venv=
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3; do
        if python_has "$candidate" venv ensurepip; then
            echo "$candidate"
            return
        elif python_has "$candidate"; then
            found_without_venv=$candidate
        fi
    done
    if [ -n "$found_without_venv" ]; then
        echo "setup: $found_without_venv cannot make virtual environments. Install its venv module" \
            "(Debian, Ubuntu: apt install python3-venv) and run this again." >&2
    else
        echo "setup: no Python 3.11 or newer found. Install one (with its venv module) and run this again." >&2
    fi
    return 1
}

# Prints the hash of what decides the installation: the declared and the exact versions, the extras, the place (an
# editable installation points at it; a copied environment would run the original's code), and the interpreter.
installation_hash() {
    "$PYTHON" - "$ROOT" "$EXTRAS" "$CONSTRAINTS" <<'PY'
import hashlib, pathlib, sys

root = pathlib.Path(sys.argv[1])
parts = [(root / name).read_bytes() for name in ("pyproject.toml", sys.argv[3])]
parts += [text.encode() for text in (*sys.argv[1:], sys.version)]
print(hashlib.sha256(b"\0".join(parts)).hexdigest())
PY
}

set_up() {
    local stamp="$VENV/onnx-ig-installed" base hash
    # An environment without pip was left half-made, or comes from a tool that leaves pip out.
    if python_has "$PYTHON" && ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
        "$PYTHON" -m ensurepip >/dev/null 2>&1 || true # if it fails, the environment is made anew below
    fi
    if ! python_has "$PYTHON" || ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
        base="$(find_python)" || return 1
        echo "setup: making ${VENV##*/} with $("$base" --version)" >&2
        rm -rf "$VENV"
        "$base" -m venv "$VENV" || return 1
    fi
    hash="$(installation_hash)" || return 1
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$hash" ]; then
        return 0
    fi
    rm -f "$stamp"
    echo "setup: installing onnx-ig[$EXTRAS] into ${VENV##*/} (some minutes the first time)" >&2
    (cd "$ROOT" && "$PYTHON" -m pip install -qq -c "$CONSTRAINTS" -e ".[$EXTRAS]") || {
        echo "setup: the installation failed; pip's reason is above. Run this again once it is mended." >&2
        return 1
    }
    echo "$hash" >"$stamp"
}

set_up || exit 1
