# steps.bash: what up, down and test have in common; sourced by them, from the root of the repository.
#
# Lines of output, one per step with its time; the engine to talk to; waiting.

# shellcheck shell=bash

state=.berth                      # keys, settings, what was started here; only its owner reads it
stack=berth                       # the stack that compose.yaml is deployed as
service=${stack}_up
network=ide-network
instance='berth.instance=main'    # label of everything that Berth makes on the engine
images='localhost/berth*'         # names of the images built here

# `sudo make` forgets where Go is usually unpacked.
PATH=$PATH:/usr/local/go/bin

log=$(mktemp)
current=
sentence=
note=
watcher=

now() { echo $(( $(date +%s%N) / 1000000 )); }
seconds() { printf '%d.%d' $(( $1 / 1000 )) $(( $1 % 1000 / 100 )); }

# line NAME NOTE MILLISECONDS
line() { printf '  %-10s %-72s %6s s\n' "$1" "$2" "$(seconds "$3")"; }

# step NAME CMD...: one line of output. CMD is a function of this script; it sets `note`, the text of that line. What its
# commands print is shown only if one of them fails.
step() {
  local began
  began=$(now)
  current=$1 note=; shift
  if [[ -t 1 ]]; then printf '  %-10s …\r' "$current"; fi
  exec 3>&1 4>&2 >"$log" 2>&1
  "$@"
  exec >&3 2>&4 3>&- 4>&-
  line "$current" "$note" $(( $(now) - began ))
  current=
}

# long_step is a step of minutes: meanwhile it says how far it is, on a terminal in the line that is to come, elsewhere
# every half minute. What its commands print has to have lines as BuildKit's, or of the scripts here ("ide image: …").
long_step() {
  watch_log "$1" &
  watcher=$!
  step "$@"
  stop_watching
}
watch_log() {
  local began is said=
  began=$(now)
  trap 'exit 0' TERM
  while :; do
    if [[ -t 1 ]]; then sleep 1 & else sleep 30 >/dev/null 2>&1 & fi
    wait $!
    kill -0 $$ 2>/dev/null || exit 0
    is=$(grep -aE '^(#[0-9]+ \[|ide image: |store: |traefik: )' "$log" | tail -n 1 || true)
    if [[ -t 1 ]]; then
      printf '  %-10s … %d s %-68.68s\r' "$1" $(( ($(now) - began) / 1000 )) "$is"
    elif [[ $is != "$said" ]]; then
      printf '  %-10s … %d s %.100s\n' "$1" $(( ($(now) - began) / 1000 )) "$is"
    fi
    said=$is
  done
}
stop_watching() {
  if [[ -n $watcher ]]; then
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
  fi
  watcher=
}

# fail SENTENCE ends the program with one sentence that says what to do.
fail() { sentence=$*; exit 1; }

# finish [CODE] is the end of every script here, good or bad.
finish() {
  local code=${1:-$?}
  stop_watching
  if [[ -n $current ]]; then
    exec >&3 2>&4 3>&- 4>&-
    if [[ -t 1 ]]; then printf '\033[K'; fi
    printf '  %-10s failed\n' "$current"
    if [[ -z $sentence ]]; then tail -n 30 "$log" | sed 's/^/             /' >&2; fi
  fi
  if [[ -n $sentence ]]; then printf '%s\n' "$sentence" >&2; fi
  rm -f "$log"
  exit "$code"
}
trap finish EXIT

# poll SECONDS CMD... repeats CMD until it succeeds or the time is over.
poll() {
  local until=$(( $(now) + $1 * 1000 )); shift
  until "$@" >/dev/null 2>&1; do
    (( $(now) < until )) || return 1
    sleep 0.2
  done
}

# answers says whether the engine answers. A client waits for long when the address is wrong.
answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# endpoint prints the engine's address: DOCKER_HOST, or that of the client's context.
endpoint() {
  local host=${DOCKER_HOST:-}
  if [[ -z $host ]]; then host=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true); fi
  echo "${host:-unix:///var/run/docker.sock}"
}

# alive PID STARTED: that very process runs. A process ID alone may be another's by now.
started_at() { awk '{ print $20 }' < <(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null); }
alive() { [[ -n $1 && -n $2 && $(started_at "$1") == "$2" && $(sed 's/.*) //' "/proc/$1/stat") != Z* ]]; }
gone() { ! alive "$@"; }
