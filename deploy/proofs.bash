# proofs.bash: which suites what has changed belongs to, and the hashes of what they had as they passed; sourced by test.
#
# A suite that rarely changes is run by whoever changes what it covers: a line in deploy/proven has the hash of its inputs
# as they were when it passed. deploy/suites names the inputs.

# shellcheck shell=bash
# shellcheck disable=SC2154  # set by test

# inputs SUITE prints the files that the suite's proof covers.
inputs() {
  local path list=() go=()
  while read -r path; do
    if [[ $path == go:* ]]; then go+=("${path#go:}"); else list+=("$path"); fi
  done < <(sed -n "s/^input $1 //p" deploy/suites | xargs -n 1)
  if (( ${#go[@]} )); then
    list+=(go.sum)
    while read -r path; do list+=(":(glob)${path#"$PWD/"}/*"); done < <(go list -deps -f '{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}' "${go[@]}")
  fi
  (( ${#list[@]} )) || return 0
  git ls-files -co --exclude-standard -- "${list[@]}" | { if (( ${#go[@]} )); then keep_program; else cat; fi } | sort -u
}
# keep_program leaves out the tests of Go packages, but not those that the suite itself consists of.
keep_program() { grep -vE '_test\.go$|/testdata/' || true; }
hash_of() { inputs "$1" | while read -r file; do if [[ -f $file ]]; then sha256sum "$file"; fi; done | sha256sum | cut -c 1-16; }
provable() { sed -n 's/^input \([a-z]*\) .*/\1/p' deploy/suites | sort -u; }
proven() { grep -qx "$1 $(hash_of "$1") .*" deploy/proven 2>/dev/null; }
unproven() { local one; for one in $(provable); do proven "$one" || echo "$one"; done; }

# prove SUITE SECONDS
prove() {
  if [[ -z $(inputs "$1") ]]; then return; fi
  { grep -v "^$1 " deploy/proven 2>/dev/null || true; echo "$1 $(hash_of "$1") $(date +%F), $2 s"; } | sort >"$results/proven"
  cp "$results/proven" deploy/proven
}

# changed_suites BASE prints the suites whose inputs have changed since then, "test" first.
changed_suites() {
  local one changes
  changes=$(git diff --name-only "$1"; git ls-files -o --exclude-standard)
  if grep -qvE '^docs/|\.md$' <<<"$changes"; then echo test; fi
  for one in $(provable); do
    if grep -qxF -f <(inputs "$one") <<<"$changes"; then echo "$one"; fi
  done
  if grep -qE '^(functions|worker|queue|internal/(store|swarm|workspace|gateway))/' <<<"$changes"; then echo chaos; fi
}
