#!/usr/bin/env bash
#
# uninstall.sh: removes Berth. What is not Berth's stays: Docker, the Swarm, other services.
#
#   sudo BERTH_API_KEY=KEY deploy/uninstall.sh     stops all containers first, so that their files are saved
#   sudo deploy/uninstall.sh --force               removes containers as they are: each has STOP_GRACE to save in
#
#   --purge    also what install.sh run again would go on with: data, secrets, records of containers, certificates, settings
#   --dry-run  show what would be done        --yes  ask nothing

set -euo pipefail
# shellcheck source=deploy/install.bash
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/install.bash"

force='' purge=''
for argument in "$@"; do
  case $argument in
    --force) force=1 ;;
    --purge) purge=1 ;;
    --dry-run) dry=1 ;;
    --yes) yes=1 ;;
    -h | --help) usage ;;
    *) usage 2 >&2 ;;
  esac
done
need_root
load_settings
need_manager

containers() { docker service ls --filter "label=$instance" --format '{{.Name}}'; }
none() { [[ -z $("$@") ]]; }
tasks() { docker ps -aq --filter "label=com.docker.stack.namespace=$stack"; }

# ask METHOD PATH, as users do, whatever DNS says.
ask() {
  curl --silent --show-error --fail --insecure --max-time 90 --request "$1" --header "Authorization: Bearer $BERTH_API_KEY" \
    --resolve "api.$DOMAIN:${HTTPS_PORT:-443}:$ADVERTISE_ADDR" "https://api.$DOMAIN${HTTPS_PORT:+:$HTTPS_PORT}$2"
}

# drop KIND FILTER... removes what `docker KIND ls` finds. What was just let go of may be held for a moment.
drop() {
  local kind=$1 name list; shift
  mapfile -t list < <(docker "$kind" ls --filter "$@" --format '{{.Name}}')
  for name in "${list[@]}"; do
    if [[ -n $dry ]]; then run docker "$kind" rm "$name"; continue; fi
    poll 60 docker "$kind" rm "$name" || fail "$kind $name cannot be removed: docker $kind rm $name"
    note "$kind $name is gone"
  done
}

confirm "Remove Berth of $DOMAIN from this Swarm${purge:+, with all its data and keys}?"
title "Containers"
count=$(containers | wc -l)
note "$count run"
if (( count > 0 )) && [[ -z $force ]]; then
  [[ -n ${BERTH_API_KEY:-} ]] || fail "$count containers run: give BERTH_API_KEY, so that they are saved and stopped, or --force"
  for name in $(containers); do
    note "stop ${name#berth-}"
    [[ -n $dry ]] || ask DELETE "/api/containers/${name#berth-}" >/dev/null
  done
  [[ -n $dry ]] || poll 600 none containers || fail "these do not stop, see berth jobs: $(containers | xargs)"
fi

# Berth goes before what is left of its containers: it would begin jobs again for services that disappear.
title "Stack"
run docker stack rm "$stack"
[[ -n $dry ]] || poll 120 none tasks || fail "the stack's containers do not end: docker ps"
drop service "label=$instance"
[[ -n $dry ]] || poll 180 none docker ps -aq --filter "label=$instance" || fail "containers do not end: docker ps --filter label=$instance"
drop secret "label=$instance"
drop network "name=^$network$"
drop config "label=com.docker.stack.namespace=$stack"

if [[ -n $purge ]]; then
  title "Data and keys"
  drop config "label=$instance"
  drop secret name=berth-
  for volume in $(docker volume ls -q --filter "label=$instance"; docker volume ls -q | grep -xE 'berth-(redis|acme)' || true); do
    if [[ -n $dry ]]; then run docker volume rm "$volume"; else poll 60 docker volume rm "$volume" || fail "volume $volume is in use"; note "volume $volume is gone"; fi
  done
  run docker node update --label-rm berth.redis "$(docker info --format '{{.Swarm.NodeID}}')"
  run rm -rf "${settings%/*}"
  note "backups stay in $backups; volumes of other nodes are removed there: docker volume ls --filter label=$instance"
fi
title "Berth is gone"
