#!/bin/bash
# Slurm's TaskProlog: shows in the job's output what prolog.sh has to say about its prefetch: once, at the beginning
# of the job's script, or of the first task where there is no script.
reasons=${FOREBAY_STATE:-/var/lib/forebay/slurm}/${SLURMD_NODENAME:-$(hostname -s)}/reasons/$SLURM_JOB_ID
[ "${SLURM_PROCID-}" = 0 ] || exit 0
case ${SLURM_STEP_ID-batch} in
    batch | 4294967291) ;;
    0) [ "${ENVIRONMENT-}" != BATCH ] || exit 0 ;;
    *) exit 0 ;;
esac
[ ! -s "$reasons" ] || sed -e 's/^forebay: //' -e 's/^/print forebay: /' -- "$reasons"
exit 0
