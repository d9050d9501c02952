#!/bin/bash
# Runs a command with the settings of this node:
#
#     with-settings.sh forebay prefetch @manifest.txt
#
# The settings are the variables that /etc/forebay/environment sets. They replace those of the environment, which
# sbatch and srun bring along from another node. A shell of its own reads the file, twice. Therefore nothing in the
# file can end the caller. What is wrong with it is said on stderr, and the rest is used.
file=${FOREBAY_SETTINGS:-/etc/forebay/environment}

say() { echo "forebay: $file: $*" >&2; }

# Prints the variables, each with a NUL behind it. With -u, bash stops at a variable that is not set.
variables() {
    # shellcheck disable=SC2016 # The inner shell expands it.
    # Windows begins files with a mark, and ends lines with a carriage return.
    sed -e '1s/^\xEF\xBB\xBF//' -e 's/\r$//' -- "$file" |
        LC_ALL=C timeout --kill-after=1 10 /bin/bash --noprofile --norc "$@" -c '
            exec 3>&1 >/dev/null
            trap "command -p env -0 >&3; \${read_all:-echo} line 1: ends early >&2" EXIT
            set -a
            . /dev/stdin
            read_all=:'
    [ "${PIPESTATUS[1]}" != 124 ] || echo "line 1: it takes longer than 10 s" >&2
}

# Names the lines of bash's errors, but does not show them, because they may hold a secret.
explain() {
    local line
    while IFS= read -r line; do
        [[ $line =~ line\ ([0-9]+):\ (.*) ]] || continue
        case ${BASH_REMATCH[2]} in
            *'unbound variable'*) line="uses a variable that is not set, and gets an empty value" ;;
            'syntax error'* | 'unexpected EOF'*) line="has a syntax error: from there on, nothing is used" ;;
            'ends early') line="or a later one ends the shell: from there on, nothing is used" ;;
            'it takes longer'*) line="or a later one takes longer than 10 s: nothing is used" ;;
            *) line="fails: write NAME=VALUE, and quotes around a value that has blanks" ;;
        esac
        say "line ${BASH_REMATCH[1]} $line"
    done
}

if [ ! -e "$file" ]; then
    say "there is no such file, so the environment alone has the settings"
elif [ ! -f "$file" ] || [ ! -r "$file" ]; then
    say "$(id -un) cannot read it, so the environment alone has the settings"
else
    variables -u 2>&1 >/dev/null | grep 'unbound variable' | explain
    while IFS= read -r -d '' assignment; do
        [[ ${assignment%%=*} =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
        case ${assignment%%=*} in _ | SHLVL | read_all | PWD | OLDPWD | LC_ALL) continue ;; esac
        export "${assignment?}" 2>/dev/null
    done < <({ variables 2>&1 >&3 | explain; } 3>&1)
fi
exec "$@"
