#!/bin/bash
# Slurm's Epilog: cancels the prefetch that prolog.sh started, and ends its lease. Fetched files stay, and may
# be evicted.
set -u
PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
forebay=${FOREBAY_BIN:-/opt/forebay/bin}/forebay
begun=${FOREBAY_STATE:-/run/forebay}/$SLURM_JOB_ID

as_owner() {
    if [ "$(id -u)" = 0 ]; then
        # HOME is root's here, and the owner may not read root's files.
        runuser -u "$SLURM_JOB_USER" -- env HOME="$(getent passwd "$SLURM_JOB_USER" | cut -d: -f6)" "$@"
    else
        "$@"
    fi
}

[ -f "$begun" ] || exit 0
set -a
# shellcheck source=/dev/null
. "${FOREBAY_SETTINGS:-/etc/forebay/environment}" || exit 0
set +a

read -r job <"$begun"
# If the lease cannot be ended now, it expires at the job's time limit.
as_owner timeout 60 "$forebay" job "$job" --cancel
as_owner timeout 60 "$forebay" lease end "job-$job"
rm -f "$begun"
exit 0
