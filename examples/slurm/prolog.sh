#!/bin/bash
# Slurm's Prolog: lets the fleet fetch the manifest that a job names in its comment,
#
#     sbatch --comment=forebay=/shared/manifests/train.txt examples/slurm/train.sbatch
#
# and keeps the files from eviction until the epilog, or until the job's time limit. It does not wait: the job's
# script waits, and lists the failures for the job's owner.
#
# In slurm.conf: Prolog=.../prolog.sh, Epilog=.../epilog.sh and TaskProlog=.../task-prolog.sh. On each node,
# /etc/forebay/environment has the settings, such as FIFTYONE_MEDIA_CACHE_REDIS_URL=...; the users of the cache must
# be able to read it.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh" || exit 0

case ${SLURM_JOB_COMMENT-} in
    forebay=/*) manifest=${SLURM_JOB_COMMENT#forebay=} ;;
    forebay=*) log "the manifest in --comment=$SLURM_JOB_COMMENT must be an absolute path" && exit 0 ;;
    *) exit 0 ;;
esac

# The job's end: this variable, or what squeue knows, is a time in seconds. For the base of an array, squeue shows all
# of its jobs.
end=${SLURM_JOB_END_TIME-}
if [ -z "$end" ]; then
    end=$(SLURM_TIME_FORMAT=%s timeout 10 squeue --noheader --states=all --jobs="$SLURM_JOB_ID" --format='%A %e' |
        awk -v job="$SLURM_JOB_ID" '$1 == job { print $2 }')
fi
lease=$((7 * 24 * 3600))
if ! [[ $end =~ ^[0-9]+$ ]]; then
    log "Slurm does not say when the job will end; the lease ends after 7 days if no epilog runs"
elif [ "$end" -gt "$(date +%s)" ]; then
    lease=$((end - $(date +%s)))
    # A job without a time limit is said to end after a year.
    [ "$lease" -le $((30 * 24 * 3600)) ] || lease=$((30 * 24 * 3600))
fi

reasons=$state/reasons/$SLURM_JOB_ID
if ! install --directory --mode=755 "$state" "$state/reasons" || ! install --mode=600 /dev/null "$reasons"; then
    log "$state cannot be written, so $manifest is not being fetched; the job's own script will try"
    exit 0
fi
[ "$(id -u)" != 0 ] || chown -- "$owner" "$reasons"

if job=$(as "$owner" prefetch "@$manifest" --dispatch fleet --lease "${lease}s" --no-wait 2>"$reasons"); then
    echo "$boot $owner $job" >"$state/$SLURM_JOB_ID.$job.job"
    log_lines <"$reasons"
    log "$manifest is being fetched by job $job, and kept for $lease s"
    end_all_but "$state/$SLURM_JOB_ID.$job.job"
else
    echo "$manifest is not being fetched; the job's own script will try again, and say why" >>"$reasons"
    log_lines <"$reasons"
fi
exit 0
