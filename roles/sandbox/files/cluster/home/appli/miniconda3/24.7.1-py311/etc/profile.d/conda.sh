# A STAND-IN for conda, not conda: no package of Debian or PyPI brings the real one.
# `conda activate PREFIX` and `conda deactivate` work over a Python venv at PREFIX, by the rules of
# conda's own hook (CONDA_PREFIX, CONDA_SHLVL, PATH); all else goes to bin/conda.
CONDA_EXE=/home/appli/miniconda3/24.7.1-py311/bin/conda
export CONDA_EXE
export CONDA_SHLVL="${CONDA_SHLVL:-0}"

__conda_deactivate() {
    if [ -n "${CONDA_PREFIX:-}" ]; then
        PATH=$(printf '%s' ":$PATH:" | sed "s|:$CONDA_PREFIX/bin:|:|; s|^:||; s|:\$||")
        export PATH
        unset CONDA_PREFIX CONDA_DEFAULT_ENV
    fi
    export CONDA_SHLVL=0
    hash -r
}

__conda_activate() {
    case "${1:-}" in
    "" | [!/.~]*)
        if [ ! -d "${1:-.}" ] || [ -z "${1:-}" ]; then
            echo "EnvironmentNameNotFound: Could not find conda environment: ${1:-base}" >&2
            echo "(stand-in for conda: give the environment's path)" >&2
            return 1
        fi
        ;;
    esac
    if [ ! -x "$1/bin/python" ]; then
        echo "EnvironmentLocationNotFound: Not a conda environment: $1" >&2
        return 1
    fi
    __conda_deactivate
    CONDA_PREFIX=$(cd "$1" && pwd)
    CONDA_DEFAULT_ENV=$CONDA_PREFIX
    PATH=$CONDA_PREFIX/bin:$PATH
    export CONDA_PREFIX CONDA_DEFAULT_ENV PATH
    export CONDA_SHLVL=1
}

conda() {
    case "${1:-}" in
    activate)
        shift
        __conda_activate "$@"
        ;;
    deactivate)
        __conda_deactivate
        ;;
    *)
        "$CONDA_EXE" "$@"
        ;;
    esac
}
