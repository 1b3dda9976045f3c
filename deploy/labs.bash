# labs.bash: what test and test-lab have in common: what tests need, and labs with their images; sourced by them after
# steps.bash, from the root of the repository. `name` is the lab's, `full` and `stack_too` say which images it gets.

# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # set here and read by the scripts, or the other way round

lab() { deploy/lab/lab "$1" --name "$name" "${@:2}"; }
unset LAB_NAME LAB_DIR DOCKER_HOST   # of a shell in which another lab was looked at
# Everything is built as the program is, so that it is compiled once: -trimpath for a clone in another folder, too.
export GOFLAGS="${GOFLAGS:-} -trimpath" CGO_ENABLED=0
PATH=$PWD/bin/tools:$PATH
program=bin/berth   # what the tests start

packages() {
  command -v go >/dev/null || fail "The tests are run with Go, and there is none in PATH: install Go 1.26 or later (https://go.dev/doc/install)."
  (( EUID == 0 )) || fail "The tests need root for network namespaces and engines: run sudo make test. make check needs none."
  note=$(deploy/prerequisites test) || { sentence=$(grep '^Berth needs' "$log" || true); exit 1; }
  note=${note:-nothing is missing}
  # The tests ask for redis-server; where the program has only its other name, it gets this one.
  mkdir -p bin/tools
  command -v redis-server >/dev/null || ln -sf "$(command -v redis-check-rdb)" bin/tools/redis-server
}

# all runs each line of its input as a command, all at once, and fails if one fails.
all() {
  local pids=() pid line failed=0
  while read -r line; do bash -c "$line" & pids+=($!); done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return "$failed"
}

# downloads: all that comes from the network comes now; a lab has none.
downloads() {
  all <<-END
	go mod download
	go -C deploy/store/versitygw mod download
	GOBIN=$PWD/bin/tools go install gotest.tools/gotestsum@v1.13.0
	${MAKE:-make} -s --no-print-directory npm
	END
  note="modules, npm packages"
}

# store builds the S3 server of the tests.
store() { go build -C deploy/store/versitygw -ldflags '-s -w' -o "$PWD/bin/tools/versitygw" .; }

# image: built on the first engine, carried to the others; there is no registry.
image() {
  local nodes node tar
  tar=$(lab env | sed -n 's/^export LAB_DIR=//p')/slim.tar
  nodes=$(lab env | sed -n 's/.*LAB_NODES="\(.*\)"/\1/p')
  DOCKER_HOST=$(lab env | sed -n 's/.*LAB_N1_SOCK=//p') deploy/ide/build-slim berth/ide:slim
  lab docker n1 save -o "$tar" berth/ide:slim
  for node in $nodes; do
    if [[ $node != n1 ]]; then lab load "$tar" "$node"; fi
  done
  rm "$tar"
  note="berth/ide:slim on $nodes"
}

# full_image is on the first engine only. All but the agent in it is built once per machine, by an engine that has a
# route outside, and kept in IDE_CACHE.
full_image() {
  deploy/ide/builder deploy/ide/build --cache --network host
  DOCKER_HOST=$(lab env | sed -n 's/.*LAB_N1_SOCK=//p') deploy/ide/build berth/ide:full
  note="berth/ide:full on n1"
}

# stack_images are on the first engine only. Traefik is built once per machine.
stack_images() {
  note=$(DOCKER_HOST=$(lab env | sed -n 's/.*LAB_N1_SOCK=//p') deploy/lab/images | xargs)
}
