#!/bin/bash
# Slurm's Epilog: ends what prolog.sh has begun. What was fetched stays, and may be evicted again.
set -u
PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
forebay=${FOREBAY_BIN:-/opt/forebay/bin}/forebay
begun=${FOREBAY_STATE:-/run/forebay}/$SLURM_JOB_ID

as_owner() {
    if [ "$(id -u)" = 0 ]; then
        # Slurm's own HOME is root's, whose files are not for the owner to read.
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
# A lease that cannot be ended now expires when the job's time is over.
as_owner timeout 60 "$forebay" job "$job" --cancel
as_owner timeout 60 "$forebay" lease end "job-$job"
rm -f "$begun"
exit 0
