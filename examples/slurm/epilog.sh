#!/bin/bash
# Slurm's Epilog: cancels the prefetch that prolog.sh started, and ends its lease. Fetched files stay, and may
# be evicted.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh" || exit 0

rm -f "$state/reasons/$SLURM_JOB_ID"
end_all_but
exit 0
