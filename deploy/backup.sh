#!/usr/bin/env bash
#
# backup.sh: what Redis has and Swarm has not (docs/backup.md), into a file.
#
#   sudo deploy/backup.sh [FILE]     default: /var/lib/berth/backups/berth-DATE.jsonl, of which those of 14 days are kept
#
# Every hour:  17 * * * * root /path/deploy/backup.sh

set -euo pipefail
# shellcheck source=deploy/install.bash
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/install.bash"

case ${1:-} in -h | --help) usage ;; -*) usage 2 >&2 ;; esac
need_root
umask 077
file=${1:-$backups/berth-$(date +%Y%m%d-%H%M%S).jsonl}
mkdir -p "$(dirname "$file")"
# A backup that fails replaces nothing.
trap 'rm -f "$file.new"' EXIT
# Redis, or the worker here, may just be starting anew.
for try in 1 2 3; do
  if (berth backup - >"$file.new"); then break; fi
  [[ $try != 3 ]] || exit 1
  sleep 5
done
mv "$file.new" "$file"
echo "$file"
if [[ $# == 0 ]]; then find "$backups" -name 'berth-*.jsonl' -mtime +14 -delete; fi
