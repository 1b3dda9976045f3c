# proofs.bash: which suites what has changed belongs to, and the hashes of what they had as they passed; sourced by test.
#
# A suite that rarely changes is run by whoever changes what it covers: a line in deploy/proven has the hash of its inputs
# as they were when it passed. deploy/suites names the inputs.

# shellcheck shell=bash
# shellcheck disable=SC2154  # set by test

# inputs SUITE prints the files that the suite's proof covers: of Go packages all that is in the program, and of others
# what deploy/suites names.
inputs() {
  local path list=() go=() dirs=()
  for path in $(sed -n "s/^input $1 //p" deploy/suites); do
    if [[ $path == go:* ]]; then go+=("${path#go:}"); else list+=("$path"); fi
  done
  if (( ${#list[@]} )); then git ls-files -co --exclude-standard -- "${list[@]}"; fi
  if (( ${#go[@]} )); then
    echo go.sum
    mapfile -t dirs < <(go list -deps -f '{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}' "${go[@]}" | sed -n "s,^$PWD/,,p")
    (( ${#dirs[@]} )) || fail "go list names no package of ${go[*]}."
    git ls-files -co --exclude-standard -- "${dirs[@]/%//*}" | grep -vE '_test\.go$|/testdata/'
  fi
}

# hash_of SUITE covers each file's name, content and whether it can be executed. A file that is gone is left out, so the hash changes with it.
hash_of() {
  inputs "$1" | sort -u | while read -r file; do
    [[ -f $file ]] || continue
    if [[ -x $file ]]; then echo "executable"; fi
    echo "$file $(sha256sum <"$file")"
  done | sha256sum | cut -c 1-16
}
provable() { sed -n 's/^input \([a-z]*\) .*/\1/p' deploy/suites | sort -u; }
proven() { grep -q "^$1 $(hash_of "$1") " deploy/proven 2>/dev/null; }
unproven() { local one; for one in $(provable); do proven "$one" || echo "$one"; done; }

# prove SUITE SECONDS
prove() {
  if ! provable | grep -qx "$1"; then return; fi
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
