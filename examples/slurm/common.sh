# shellcheck shell=bash
# What prolog.sh and epilog.sh share. Whatever happens, they end with status 0, because Slurm drains a node otherwise.
trap 'exit 0' EXIT
# Slurm gives no search path.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
forebay=${FOREBAY_BIN:-/opt/forebay/bin}/forebay
# It outlives a restart of the node. Nodes may share it.
state=${FOREBAY_STATE:-/var/lib/forebay/slurm}/${SLURMD_NODENAME:-$(hostname -s)}
# shellcheck disable=SC2034 # prolog.sh uses it.
owner=${SLURM_JOB_USER:-$(id -nu "${SLURM_JOB_UID:-0}")}
boot=$(cat /proc/sys/kernel/random/boot_id)
# Slurm's programs may be beside slurmd, which started this.
slurm=$(dirname "$(readlink "/proc/$PPID/exe")")/../bin
[ ! -x "$slurm/squeue" ] || PATH=$slurm:$PATH

# Writes a line into the log of slurmd, which has none of what a prolog prints, and of the system.
log() {
    local line="forebay: job $SLURM_JOB_ID: $*"
    line=${line//[[:cntrl:]]/ }
    echo "$line" >&2
    logger --tag forebay-slurm -- "$line" 2>/dev/null
    slurmd_log=${slurmd_log-$(timeout 5 scontrol show slurmd 2>/dev/null | sed -n 's/^Slurmd Logfile *= *//p')}
    [ ! -w "$slurmd_log" ] || echo "[$(date +%Y-%m-%dT%H:%M:%S.%3N)] $line" >>"$slurmd_log"
}

# Logs what a command said on stderr: log_lines <FILE.
log_lines() {
    local line
    head -n 30 | while IFS= read -r line; do [ -z "$line" ] || log "${line#forebay: }"; done
}

# Runs forebay with the node's settings, and with the rights and the HOME of a job's owner, who may not read root's
# files: as USER ARGUMENT...
as() {
    local command=("$here/with-settings.sh" "$forebay" "${@:2}")
    if [ "$(id -u)" = 0 ]; then
        command=(runuser -u "$1" -- env HOME="$(getent passwd "$1" | cut -d: -f6)" "${command[@]}")
    fi
    timeout --kill-after=5 60 "${command[@]}" </dev/null
}

# Ends what prologs have begun for this job, other than $1, and for jobs that a restart of the node has ended. What
# cannot be ended now is left to the next job on this node; its lease expires at its job's time limit.
end_all_but() {
    local note user job began
    for note in "$state"/*.job; do
        [ -f "$note" ] && [ "$note" != "${1-}" ] || continue
        read -r began user job <"$note"
        [ "$began" != "$boot" ] || [[ $note = "$state/$SLURM_JOB_ID".*.job ]] || continue
        as "$user" job "$job" --cancel >/dev/null 2>&1
        if as "$user" lease end "job-$job" >/dev/null 2>"$note.error" ||
            grep -q 'does not exist on volume' "$note.error"; then
            rm -f "$note" "$note.error"
        else
            log_lines <"$note.error"
            log "the lease job-$job cannot be ended; the next job on this node tries again"
            rm -f "$note.error"
            echo "ended $user $job" >"$note"
            return
        fi
    done
}
