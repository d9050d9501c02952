#!/bin/bash
# Slurm's Prolog: lets the fleet fetch the manifest that a job names in its comment,
#
#     sbatch --comment=forebay=/shared/manifests/train.txt examples/slurm/train.sbatch
#
# and keeps the files from eviction until the epilog, or until the job's time limit. It does not wait: the job's
# script waits, and lists the failures for the job's owner. It never fails, because Slurm would drain the node.
#
# In slurm.conf: Prolog=.../prolog.sh and Epilog=.../epilog.sh. On each node, /etc/forebay/environment has the
# settings, such as FIFTYONE_MEDIA_CACHE_REDIS_URL=...; the users of the cache must be able to read it.
set -u
PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
forebay=${FOREBAY_BIN:-/opt/forebay/bin}/forebay
state=${FOREBAY_STATE:-/run/forebay}

log() {
    echo "forebay: job $SLURM_JOB_ID: $*" >&2
    logger --tag forebay-prolog "job $SLURM_JOB_ID: $*" 2>/dev/null || true
}

# A manifest is read with the rights of who asked for it.
as_owner() {
    if [ "$(id -u)" = 0 ]; then
        # HOME is root's here, and the owner may not read root's files.
        runuser -u "$SLURM_JOB_USER" -- env HOME="$(getent passwd "$SLURM_JOB_USER" | cut -d: -f6)" "$@"
    else
        "$@"
    fi
}

case ${SLURM_JOB_COMMENT-} in
    forebay=/*) manifest=${SLURM_JOB_COMMENT#forebay=} ;;
    forebay=*) log "the manifest in --comment=$SLURM_JOB_COMMENT must be an absolute path" && exit 0 ;;
    *) exit 0 ;;
esac

set -a
# shellcheck source=/dev/null
. "${FOREBAY_SETTINGS:-/etc/forebay/environment}" || { log "there are no settings" && exit 0; }
set +a

lease=$((7 * 24 * 3600))
left=$((${SLURM_JOB_END_TIME:-0} - $(date +%s)))
if [ "$left" -gt 0 ] && [ "$left" -lt "$lease" ]; then lease=$left; fi

if job=$(as_owner timeout 120 "$forebay" prefetch "@$manifest" --dispatch fleet --lease "${lease}s" --no-wait); then
    install --directory --mode 700 "$state"
    echo "$job" >"$state/$SLURM_JOB_ID"
    log "$manifest is being fetched by job $job"
else
    log "$manifest is not being fetched; the job's own script will try again, and say why"
fi
exit 0
