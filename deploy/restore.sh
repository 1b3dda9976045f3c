#!/usr/bin/env bash
#
# restore.sh: brings a backup into Redis. Containers then come back from Swarm (docs/backup.md).
#
#   sudo deploy/restore.sh FILE              into a Redis that has lost its data
#   sudo deploy/restore.sh FILE --replace    also where there are containers, keys or webhooks: they are dropped
#
# --yes asks nothing.

set -euo pipefail
# shellcheck source=deploy/install.bash
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/install.bash"

file='' replace=()
for argument in "$@"; do
  case $argument in
    --replace) replace=(--replace) ;;
    --yes) yes=1 ;;
    -h | --help) usage ;;
    -*) usage 2 >&2 ;;
    *) file=$argument ;;
  esac
done
[[ -s $file ]] || usage 2 >&2
need_root
if (( ${#replace[@]} )); then confirm "Drop what Redis has now?"; fi
berth restore - "${replace[@]}" <"$file"
