#!/usr/bin/env bash
#
# install.sh: Berth on this machine: Docker, a Swarm, Traefik with certificates, Redis, and Berth itself.
#
#   sudo deploy/install.sh --domain example.org --email me@example.org --certificates dns01 --dns-provider cloudflare \
#     --dns-token-variable CF_DNS_API_TOKEN --dns-token-file token
#   sudo deploy/install.sh --domain example.org --email me@example.org --certificates http01
#   sudo deploy/install.sh --domain example.org --certificates files --certificate-file FILE --key-file FILE
#
#   --domain NAME              the API answers at api.NAME, Traefik's dashboard at traefik.NAME
#   --container-domain NAME    containers answer under it; better one of their own; default: --domain
#   --image NAME               of Berth; default: the release's image file beside this script or in bin/release
#   --ide-image NAME           what containers run
#   --s3-endpoint URL          the store of workspaces; default: AWS. none keeps no files
#   --routing labels|gateway   how Traefik finds containers; default: labels, with dns01 from about 100 containers on gateway
#   --advertise-addr ADDRESS   by which the nodes of the Swarm call this one; default: the address of the default route
#   --subnet, --pool, --control-subnet   private networks for containers (/16), for other overlays (/16), for Berth (/24)
#   --env-file FILE            more settings of Berth, one NAME=value a line (docs/config.md)
#   --layers FILES             laid over the stack, separated by blanks: socket-proxy.yaml of this directory, files of your own; "" for none
#   --dry-run                  show what would be done
#   --yes                      ask nothing
#
# Ubuntu 22.04 and 24.04, Debian 12 and 13. Run again, it changes what is not as asked for, and keeps keys and data. It shows
# every command that changes something. Keys are shown once, at the end of the run that makes them.

set -euo pipefail
# shellcheck source=deploy/install.bash
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/install.bash"

# kept are the settings that upgrade.sh needs again.
kept=(DOMAIN CONTAINER_DOMAIN CERTIFICATES ACME_EMAIL ACME_DNS_PROVIDER ACME_DNS_TOKEN CERTIFICATE BERTH_IMAGE IDE_IMAGE ROUTING
  ACME_SERVER ADVERTISE_ADDR NETWORK_SUBNET CONTROL_SUBNET BERTH_ENV ENGINE_SOCKET ENGINE_EXEC_ROOT HOST_NETNS HTTP_PORT HTTPS_PORT RESOLVE_IMAGES
  REDIS_MEMORY REDIS_MEMORY_LIMIT API_KEY_NAME SECRET_KEY_NAME LAYERS)

arguments() {
  if [[ -s $settings ]]; then load_settings; fi
  while (( $# )); do
    case $1 in
      --dry-run) dry=1; shift; continue ;;
      --yes) yes=1; shift; continue ;;
      -h | --help) usage ;;
    esac
    (( $# > 1 )) || usage 2 >&2
    case $1 in
      --domain) DOMAIN=$2 ;;
      --container-domain) CONTAINER_DOMAIN=$2 ;;
      --email) ACME_EMAIL=$2 ;;
      --certificates) CERTIFICATES=$2 ;;
      --dns-provider) ACME_DNS_PROVIDER=$2 ;;
      --dns-token-variable) ACME_DNS_TOKEN=$2 ;;
      --dns-token-file) token_file=$2 ;;
      --certificate-file) certificate_file=$2 ;;
      --key-file) key_file=$2 ;;
      --image) BERTH_IMAGE=$2 ;;
      --ide-image) IDE_IMAGE=$2 ;;
      --s3-endpoint) s3_endpoint=$2 ;;
      --routing) ROUTING=$2 ;;
      --advertise-addr) ADVERTISE_ADDR=$2 ;;
      --subnet) NETWORK_SUBNET=$2 ;;
      --pool) pool=$2 ;;
      --control-subnet) CONTROL_SUBNET=$2 ;;
      --env-file) env_file=$2 ;;
      --layers) LAYERS=$2 ;;
      *) usage 2 >&2 ;;
    esac
    shift 2
  done
  [[ ${DOMAIN:-} =~ ^[a-z0-9.-]+\.[a-z]+$ ]] || fail "--domain is missing, or no domain"
  CONTAINER_DOMAIN=${CONTAINER_DOMAIN:-$DOMAIN}
  CERTIFICATES=${CERTIFICATES:-dns01}
  ROUTING=${ROUTING:-labels}
  NETWORK_SUBNET=${NETWORK_SUBNET:-10.86.0.0/16} CONTROL_SUBNET=${CONTROL_SUBNET:-10.85.0.0/24} pool=${pool:-10.87.0.0/16}
  BERTH_ENV=${BERTH_ENV:-${settings%/*}/berth.env}
  IDE_IMAGE=${IDE_IMAGE:-localhost/berth-ide:latest}
  API_KEY_NAME=${API_KEY_NAME:-berth-api-key} SECRET_KEY_NAME=${SECRET_KEY_NAME:-berth-secret-key}
  layers >/dev/null
  case $CERTIFICATES in
    dns01) [[ -n ${ACME_EMAIL:-} && -n ${ACME_DNS_PROVIDER:-} && -n ${ACME_DNS_TOKEN:-} ]] || fail "dns01 needs --email, --dns-provider, --dns-token-variable" ;;
    http01) [[ -n ${ACME_EMAIL:-} ]] || fail "http01 needs --email"
      [[ $ROUTING == labels ]] || fail "http01 needs --routing labels: Traefik asks for certificates of the hosts that labels name" ;;
    files) ;;
    *) fail "--certificates is dns01, http01 or files" ;;
  esac
  [[ $ROUTING == labels || $ROUTING == gateway ]] || fail "--routing is labels or gateway"
}

# --- the machine ------------------------------------------------------------------------------------------------------

system() {
  title "This machine"
  local id version
  # shellcheck disable=SC1091
  id=$(. /etc/os-release && echo "$ID") version=$(. /etc/os-release && echo "${VERSION_ID:-}")
  case $id-$version in
    ubuntu-22.04 | ubuntu-24.04 | debian-12 | debian-13) note "$id $version" ;;
    *) fail "this is $id $version; Ubuntu 22.04 and 24.04, Debian 12 and 13 are known. Elsewhere install Docker yourself and deploy deploy/stack.yaml" ;;
  esac
  need_root
}

# engine: overlay2 keeps each layer once. no-new-privileges can be set for a Swarm service only from Engine 25 on, so it
# is the engine's default. The local pools stay Docker's own: every container takes an address on docker_gwbridge, whose
# /16 is what bounds containers on a node; a pool of /24 would end at 250.
engine() {
  title "Docker"
  if docker info >/dev/null 2>&1; then
    note "answers: $(docker info --format '{{.ServerVersion}}, {{.Driver}}')"
    [[ $(docker info --format '{{.Driver}}') == overlay* ]] || note "WARNING: images are kept with another driver than overlay2: each container is slower to start"
    [[ $(docker info --format '{{.SecurityOptions}}') == *no-new-privileges* ]] || grep -qs no-new-privileges /etc/docker/daemon.json ||
      note 'WARNING: put "no-new-privileges": true into /etc/docker/daemon.json and restart the engine'
    return
  fi
  confirm "Docker is not here. Install the distribution's (docker.io)?"
  if [[ ! -e /etc/docker/daemon.json ]]; then
    note "writes /etc/docker/daemon.json"
    if [[ -z $dry ]]; then
      mkdir -p /etc/docker
      cat >/etc/docker/daemon.json <<'END'
{
  "storage-driver": "overlay2",
  "no-new-privileges": true,
  "log-driver": "json-file",
  "log-opts": { "max-size": "10m", "max-file": "3" }
}
END
    fi
  fi
  run env DEBIAN_FRONTEND=noninteractive apt-get -q update
  local packages=(docker.io iptables curl ca-certificates openssl)
  if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi # of its own from Debian 13 on; a new machine has no lists before the update
  run env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${packages[@]}"
  if [[ -d /run/systemd/system ]]; then run systemctl enable --now docker || true; else run service docker start || true; fi
  [[ -n $dry ]] || poll 60 docker info || fail "Docker does not start: journalctl -u docker, or /var/log/docker.log"
}

# taken NET: does the machine have a route into it already?
taken() {
  local have
  have=$(ip -4 route show table main 2>/dev/null | awk '$1 ~ "/" { print $1 }' | grep -v "dev docker" || true)
  overlaps "$1" "$have"
}
# overlaps NET LIST prints the first of LIST that shares addresses with NET.
overlaps() {
  awk -v net="$1" '
    function number(a,  p) { split(a, p, "."); return ((p[1] * 256 + p[2]) * 256 + p[3]) * 256 + p[4] }
    function range(n,  p) { split(n, p, "/"); size = 2 ^ (32 - p[2]); low = int(number(p[1]) / size) * size; high = low + size - 1 }
    BEGIN { range(net); a = low; b = high }
    { range($1); if (low <= b && high >= a) { print $1; exit } }' <<<"$2"
}

# swarm: Swarm fixes its address pool when it is made. Docker's default, 10.0.0.0/8, takes in what many providers call their
# private networks. Each overlay gets a /24 of the pool, 256 of them; the containers do not live on one of these (a /24
# ends at about 250 addresses, and what is beyond waits without a word) but on a /16 of their own: 65,533 addresses.
swarm() {
  title "Swarm"
  local state clash net
  state=$(docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' 2>/dev/null) || state='inactive false' # no engine, in a rehearsal
  ADVERTISE_ADDR=${ADVERTISE_ADDR:-$(docker info --format '{{.Swarm.NodeAddr}}' 2>/dev/null || true)}
  ADVERTISE_ADDR=${ADVERTISE_ADDR:-$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')}
  [[ -n $ADVERTISE_ADDR ]] || fail "this machine has no default route: say --advertise-addr"
  case $state in
    'active true') note "this node is a manager at $ADVERTISE_ADDR" ;;
    'active false') fail "this node is a worker of a Swarm: run this on a manager" ;;
    inactive*)
      for net in "$NETWORK_SUBNET" "$CONTROL_SUBNET" "$pool"; do
        clash=$(taken "$net")
        [[ -z $clash ]] || fail "$net overlaps $clash, to which this machine has a route: choose others with --subnet, --control-subnet, --pool"
      done
      run docker swarm init --advertise-addr "$ADVERTISE_ADDR" --default-addr-pool "$pool" --default-addr-pool-mask-length 24 | grep -v -e --token ;;
    *) fail "the Swarm is in the state \"${state% *}\": docker info" ;;
  esac
}

firewall() {
  title "Firewall"
  note "open to everybody:            TCP 80, 443"
  note "open between nodes only:      TCP 2377 (to managers), TCP and UDP 7946, UDP 4789, and ESP (protocol 50: Berth's own network is encrypted)"
  note "closed to everybody, always:  TCP 2375 and 2376 (the engine)"
  note "Docker's published ports pass ufw by: close them in the provider's firewall, or in the chain DOCKER-USER."
  if command -v ufw >/dev/null && ufw status 2>/dev/null | grep -q '^Status: active'; then
    note "ufw is active here:  ufw allow 80,443/tcp; for each other node: ufw allow from ADDRESS to any port 2377,7946 proto tcp; ufw allow from ADDRESS to any port 7946,4789 proto udp"
  fi
}

# --- what Berth needs of the Swarm ------------------------------------------------------------------------------------

overlay() {
  title "Network and place of the data"
  local have
  have=$(docker network inspect --format '{{.Driver}} {{.Attachable}} {{range .IPAM.Config}}{{.Subnet}}{{end}}' "$network" 2>/dev/null || true)
  case $have in
    '') run docker network create --driver overlay --attachable --subnet "$NETWORK_SUBNET" --label "$instance" "$network" ;;
    'overlay true '*) note "$network ${have##* } is there" ;;
    *) fail "there is a network $network that is not an attachable overlay: remove it" ;;
  esac
  if [[ -z $dry && -n $(docker node ls -q --filter node.label=berth.redis=true) ]]; then
    note "Redis's node is chosen"
  else
    have=$(docker info --format '{{.Swarm.NodeID}}' 2>/dev/null) || have=THIS-NODE
    run docker node update --label-add berth.redis=true "$have"
  fi
}

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# make_secret NAME reads the text from its input; it is never an argument.
make_secret() {
  note "+ docker secret create $1 -"
  if [[ -n $dry ]]; then cat >/dev/null; else docker secret create "$1" - >/dev/null; fi
}

# absent NAME DEFAULT: is the secret still to be made? Only the first one is made here: a new key in the place of one that was
# meant would open nothing.
absent() {
  if has_secret "$1"; then note "$1 is there"; return 1; fi
  [[ $1 == "$2" ]] || fail "there is no secret $1: docker secret create $1 -"
}

secrets() {
  title "Secrets, in the Swarm"
  local password
  if absent "$API_KEY_NAME" berth-api-key; then
    api_key=$(random)
    printf %s "$api_key" | make_secret berth-api-key
  fi
  if absent "$SECRET_KEY_NAME" berth-secret-key; then
    secret_key=$(random)
    printf %s "$secret_key" | make_secret berth-secret-key
  fi
  if has_secret berth-redis-conf && has_secret berth-redis-url; then note "berth-redis-conf and -url are there"; else
    for password in berth-redis-conf berth-redis-url; do
      if has_secret "$password"; then run docker secret rm "$password"; fi # half a pair is none
    done
    password=$(random)
    printf 'requirepass %s\n' "$password" | make_secret berth-redis-conf
    printf 'redis://:%s@redis:6379/0' "$password" | make_secret berth-redis-url
  fi
  if has_secret berth-traefik-users; then note "berth-traefik-users is there"; else
    traefik_password=$(random | cut -c 1-20)
    printf 'admin:%s\n' "$(openssl passwd -apr1 -stdin <<<"$traefik_password")" | make_secret berth-traefik-users
  fi
  case $CERTIFICATES in
    dns01) from_file berth-acme-dns-token "${token_file:-}" --dns-token-file ;;
    files)
      # Swarm secrets never change: another certificate is another pair.
      if [[ -n ${certificate_file:-} && -n ${key_file:-} ]]; then
        CERTIFICATE=$(cat "$certificate_file" "$key_file" | sha256sum | cut -c 1-12)
      fi
      from_file "berth-certificate-${CERTIFICATE:-1}" "${certificate_file:-}" --certificate-file
      from_file "berth-certificate-key-${CERTIFICATE:-1}" "${key_file:-}" --key-file ;;
  esac
}
from_file() {
  if has_secret "$1"; then note "$1 is there"; return; fi
  [[ -s ${2:-} ]] || fail "$3 is missing: the secret $1 is made from it"
  make_secret "$1" <"$2"
}

# show_keys: once, also when what follows their making has failed.
show_keys() {
  local code=$?
  trap - EXIT
  if [[ -z $dry && -n ${api_key:-}${secret_key:-}${traefik_password:-} ]]; then
    title "Keys: shown once, write them down now"
    [[ -z ${api_key:-} ]] || note "API key (admin)       $api_key"
    [[ -z ${secret_key:-} ]] || note "SECRET_KEY            $secret_key     (opens what is sealed: with the backups, but not in the same place;"
    [[ -z ${secret_key:-} ]] || note "                      docs/UPGRADE.md replaces it in two steps)"
    [[ -z ${traefik_password:-} ]] || note "Traefik's dashboard   admin $traefik_password     (https://traefik.$DOMAIN)"
  fi
  exit "$code"
}

images() {
  title "Images"
  local file
  if [[ -z ${BERTH_IMAGE:-} ]]; then
    for file in "$here"/berth_*_linux_"$(arch)"_image.tar "$here"/../bin/release/berth_*_linux_"$(arch)"_image.tar; do
      [[ -s $file ]] || continue
      BERTH_IMAGE=$(tar -xOf "$file" manifest.json | sed 's/.*"RepoTags":\["\([^"]*\)".*/\1/')
      has_image "$BERTH_IMAGE" || run docker load -i "$file"
      RESOLVE_IMAGES=never
      break
    done
    [[ -n ${BERTH_IMAGE:-} ]] || fail "no --image, and no image file of a release beside this script: make release"
  elif ! has_image "$BERTH_IMAGE" && [[ $BERTH_IMAGE != localhost/* ]]; then
    run docker pull "$BERTH_IMAGE"
  fi
  [[ -n $dry ]] || has_image "$BERTH_IMAGE" || fail "the image $BERTH_IMAGE is not here"
  note "Berth: $BERTH_IMAGE"
  if has_image "$IDE_IMAGE"; then note "containers: $IDE_IMAGE"; else
    note "WARNING: the image of containers, $IDE_IMAGE, is not here: make ide-image, or docker pull, on every node"
  fi
}
arch() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac; }

# own_settings keeps berth.env, and adds to it what was asked for.
own_settings() {
  title "Settings"
  note "Berth's own are in $BERTH_ENV (docs/config.md lists them); run this again to apply them"
  if [[ -z $dry ]]; then
    mkdir -p "${BERTH_ENV%/*}"
    if [[ -n ${env_file:-} ]]; then cp "$env_file" "$BERTH_ENV"; fi
    [[ -e $BERTH_ENV ]] || echo '# One NAME=value a line.' >"$BERTH_ENV"
    if [[ -n ${s3_endpoint:-} ]]; then
      sed -i '/^S3_ENDPOINT=/d' "$BERTH_ENV"
      echo "S3_ENDPOINT=$s3_endpoint" >>"$BERTH_ENV"
    fi
  fi
  # An engine elsewhere than usual.
  if [[ ${DOCKER_HOST:-} == unix://* ]]; then ENGINE_SOCKET=${ENGINE_SOCKET:-${DOCKER_HOST#unix://}}; fi
  save_settings "${kept[@]}"
  export "${kept[@]}"
}

arguments "$@"
trap show_keys EXIT
system
engine
confirm "Install Berth for $DOMAIN on this machine?"
swarm
firewall
overlay
images
secrets
own_settings
title "Stack"
deploy
title "Health"
await_health
title "What berth doctor says"
examine
title "Berth runs"
note "dashboard   https://api.$DOMAIN/dashboard   (sign in with the API key)"
note "DNS         A records: api.$DOMAIN, traefik.$DOMAIN and *.$CONTAINER_DOMAIN -> the public address of this machine"
note "go on       docs/SETUP.md, section 4"
