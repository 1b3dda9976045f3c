#!/usr/bin/env bash
#
# upgrade.sh: another version of Berth, in place; containers and jobs go on.
#
#   sudo deploy/upgrade.sh IMAGE       a name in a registry, or one that is on every node: registry.example.org/berth:1.3.0
#   sudo deploy/upgrade.sh FILE.tar    the image file of a release; on the other nodes: docker load -i FILE.tar first
#
# --dry-run shows what would be done. Run it from the new version's files: it deploys its stack.yaml. A backup is taken first.

set -euo pipefail
# shellcheck source=deploy/install.bash
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/install.bash"

target=
for argument in "$@"; do
  case $argument in
    --dry-run) dry=1 ;;
    --yes) yes=1 ;;
    -h | --help) usage ;;
    -*) usage 2 >&2 ;;
    *) target=$argument ;;
  esac
done
[[ -n $target ]] || usage 2 >&2
need_root
load_settings
need_manager
was=$BERTH_IMAGE

title "Backup"
if [[ -n $dry ]]; then note "$here/backup.sh"; else "$here/backup.sh"; fi

title "Image"
if [[ $target == *.tar ]]; then
  [[ -s $target ]] || fail "there is no file $target"
  BERTH_IMAGE=$(tar -xOf "$target" manifest.json | sed 's/.*"RepoTags":\["\([^"]*\)".*/\1/')
  RESOLVE_IMAGES=never
  run docker load -i "$target"
else
  BERTH_IMAGE=$target
  has_image "$BERTH_IMAGE" || run docker pull "$BERTH_IMAGE"
fi
export BERTH_IMAGE RESOLVE_IMAGES
if [[ -z $dry ]]; then
  version=$(docker run --rm --network none "$BERTH_IMAGE" version) || fail "$BERTH_IMAGE is no image of Berth"
  note "$was -> $BERTH_IMAGE, version $version"
fi

title "Stack"
deploy
title "Health"
await_health
if [[ -z $dry ]]; then
  sed -i "/^BERTH_IMAGE=/d; /^RESOLVE_IMAGES=/d" "$settings"
  printf 'BERTH_IMAGE=%s\nRESOLVE_IMAGES=%s\n' "$BERTH_IMAGE" "${RESOLVE_IMAGES:-}" >>"$settings"
fi
title "What berth doctor says"
examine
note "back again: $0 $was"
