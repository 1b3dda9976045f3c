# install.bash: what install.sh, upgrade.sh, backup.sh, restore.sh and uninstall.sh have in common; sourced by them.

# shellcheck shell=bash

stack=berth
network=ide-network
instance=berth.instance=main
settings=${BERTH_ETC:-/etc/berth}/install.env     # what the stack is deployed with
backups=${BERTH_BACKUPS:-/var/lib/berth/backups}
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
dry=
yes=

fail() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }
usage() { sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit "${1:-0}"; }
title() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }

# run CMD... shows a command that changes something, and runs it unless this is a rehearsal. No secret is an argument.
run() {
  printf '   +'
  printf ' %q' "$@"
  echo
  [[ -n $dry ]] || "$@"
}

# confirm QUESTION: --yes answers it; without a terminal nothing else does.
confirm() {
  if [[ -n $yes || -n $dry ]]; then return; fi
  [[ -t 0 ]] || fail "$1 Say --yes where nobody can answer."
  local answer
  read -r -p "$1 [y/N] " answer
  [[ $answer == [yY]* ]] || fail "nothing was done"
}

# poll SECONDS CMD... repeats CMD until it succeeds.
poll() {
  local end=$(( SECONDS + $1 )); shift
  until "$@" >/dev/null 2>&1; do
    (( SECONDS < end )) || return 1
    sleep 1
  done
}

need_root() { (( EUID == 0 )) || [[ -n $dry || -n ${DOCKER_HOST:-} ]] || fail "run it as root: sudo $0"; }
need_manager() {
  [[ $(docker info --format '{{.Swarm.ControlAvailable}}' 2>/dev/null) == true ]] || fail "the engine here does not answer, or is no manager of a Swarm"
}

has_secret() { docker secret inspect "$1" >/dev/null 2>&1; }
has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# container NAME prints a running container of a service of the stack on this node.
container() { docker ps -q --filter "label=com.docker.swarm.service.name=${stack}_$1" --filter status=running | sed -n 1p; }

# berth ARGS... is the program inside the worker here: it has Redis's address and password.
berth() {
  local id
  id=$(container worker)
  [[ -n $id ]] || fail "no worker of Berth runs on this node: docker service ps ${stack}_worker"
  docker exec -i "$id" /berth "$@"
}

# load_settings reads what an installation was made with; the environment wins.
load_settings() {
  local name value
  [[ -s $settings ]] || fail "no $settings: is Berth installed here (deploy/install.sh)?"
  while IFS='=' read -r name value; do
    [[ $name =~ ^[A-Z0-9_]+$ && -z ${!name:-} ]] || continue
    printf -v "$name" '%s' "$value"
    export "${name?}"
  done <"$settings"
}

# save_settings NAME... keeps them for the next time.
save_settings() {
  local name
  note "settings are kept in $settings"
  [[ -z $dry ]] || return 0
  mkdir -p "${settings%/*}"
  for name in "$@"; do printf '%s=%s\n' "$name" "${!name:-}"; done >"$settings.new"
  mv "$settings.new" "$settings"
}

# layers prints the files of LAYERS: a name is one of this directory, so that an upgrade takes the new version's; a path is
# the operator's own.
layers() {
  local file
  for file in ${LAYERS:-}; do
    [[ $file == */* ]] || file=$here/$file
    [[ $file == /* && -s $file ]] || fail "--layers: $file is neither a file of $here nor the absolute path of one"
    echo "$file"
  done
}

# deploy brings the stack to what the settings say. A Swarm config never changes, so its name has a digest of its text.
deploy() {
  TRAEFIK_CONFIG=$(cat "$here/traefik/dynamic.yaml" "$here/traefik/certificates.yaml" | sha256sum | cut -c 1-12)
  export TRAEFIK_CONFIG
  local resolve=changed
  if [[ ${BERTH_IMAGE:-} == localhost/* || ${RESOLVE_IMAGES:-} == never ]]; then resolve=never; fi # a registry has nothing to say of them
  local files=("$here/stack.yaml" "$here/traefik/$CERTIFICATES.yaml") more
  more=$(layers)
  if [[ -n $more ]]; then mapfile -t -O 2 files <<<"$more"; fi
  run docker stack deploy --with-registry-auth --resolve-image "$resolve" --prune "${files[@]/#/--compose-file=}" "$stack"
}

# healthy asks Traefik, as users do, whatever DNS says already.
healthy() {
  local url=https://api.$DOMAIN${HTTPS_PORT:+:$HTTPS_PORT}/api/health
  [[ $(curl --silent --insecure --max-time 5 --resolve "api.$DOMAIN:${HTTPS_PORT:-443}:$ADVERTISE_ADDR" "$url") == *'"status":"ok"'* ]]
}

# updating SERVICE prints the state of its last update; a service never updated has none.
updating() { docker service inspect --format '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}' "${stack}_$1"; }

# settled SERVICE: its tasks are those of its newest text, and as many as wanted.
settled() {
  local state
  state=$(updating "$1") || return 1
  [[ -z $state || $state == completed ]] || return 1
  [[ $(docker service ls --filter "name=${stack}_$1" --format '{{.Replicas}}') =~ ^([0-9]+)/([0-9]+) ]] && (( BASH_REMATCH[1] >= BASH_REMATCH[2] && BASH_REMATCH[1] > 0 ))
}

# settled_or_given_up SERVICE: or Swarm has undone the update, or stopped it, and nothing more will come.
settled_or_given_up() { settled "$1" || [[ $(updating "$1") =~ ^(paused|rollback_) ]]; }

# await_health waits, and says what does not come up.
await_health() {
  local name
  if [[ -n $dry ]]; then note "wait until all services run and https://api.$DOMAIN/api/health is ok"; return; fi
  for name in redis api gateway worker traefik; do
    poll "${PATIENCE:-300}" settled_or_given_up "$name" || true
    settled "$name" || {
      docker service ps --no-trunc "${stack}_$name" | sed -n 1,8p >&2
      docker service logs --tail 20 "${stack}_$name" >&2 2>&1 || true
      fail "the service ${stack}_$name does not come up, see above"
    }
    note "${stack}_$name runs"
  done
  poll "${PATIENCE:-300}" healthy || {
    for name in traefik api worker; do docker service logs --tail 20 "${stack}_$name" >&2 2>&1 || true; done
    fail "all services run, but https://api.$DOMAIN/api/health is not ok, see above and docs/TROUBLESHOOTING.md"
  }
  note "https://api.$DOMAIN/api/health is ok"
}

# examine is for the reader: what is left to do, DNS for instance, keeps nothing from being installed.
examine() {
  if [[ -n $dry ]]; then note "berth doctor"; return; fi
  berth doctor || true
}
