# proofs.bash: which suites what has changed belongs to, and the hashes of what they had as they passed; sourced by test.
#
# A suite that rarely changes is run by whoever changes what it covers: a line in deploy/proven has the hash of its inputs
# as they were when it passed. deploy/suites names the inputs.

# shellcheck shell=bash
# shellcheck disable=SC2154  # set by test

# paths SUITE prints what its proof covers, as git's pathspecs: what deploy/suites names, and of a package named go:PACKAGE
# the program's files in it and in all it imports of ours.
paths() {
  local path go=()
  for path in $(sed -n "s/^input $1 //p" deploy/suites); do
    if [[ $path == go:* ]]; then go+=("${path#go:}"); else echo "$path"; fi
  done
  if (( ${#go[@]} )); then
    echo go.sum
    go list -deps -f '{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}' "${go[@]}" | sed -n "s,^$PWD/\(.*\),:(glob)\1/*,p"
  fi
}

# files SUITE COMMAND... prints what a git command lists of the files that the suite's proof covers. The tests of packages
# that it names as go:PACKAGE are not covered: they are unit tests.
files() {
  local list
  list=$(paths "$1")
  shift
  {
    { grep -v '^:(glob)' <<<"$list" || true; } | listed "$@"
    { grep '^:(glob)' <<<"$list" || true; } | listed "$@" | { grep -vE '_test\.go$|/testdata/' || true; }
  } | sort -u
}
listed() {
  local specs
  mapfile -t specs
  if (( ${#specs[@]} )); then git -c core.quotePath=off "$@" -- "${specs[@]}"; fi
}

# hash_of SUITE covers each file's name, content and whether it can be executed.
hash_of() {
  files "$1" ls-files -co --exclude-standard | while read -r file; do
    [[ -f $file ]] || continue
    if [[ -x $file ]]; then echo "executable"; fi
    echo "$file $(sha256sum <"$file")"
  done | sha256sum | cut -c 1-16
}

provable() { sed -n 's/^input \([a-z]*\) .*/\1/p' deploy/suites | sort -u; }
proven() { grep -q "^$1 $2 " deploy/proven 2>/dev/null; }
unproven() { local one; for one in $(provable); do proven "$one" "$(hash_of "$one")" || echo "$one"; done; }

# prove SUITE HASH SECONDS records that it has passed with inputs of that hash.
prove() {
  { grep -v "^$1 " deploy/proven 2>/dev/null || true; echo "$1 $2 $(date +%F), $3 s"; } | sort >"$results/proven"
  cp "$results/proven" deploy/proven
}

# changed_suites BASE prints the suites that what has changed since then belongs to: "test" where it is more than documents
# that no test reads.
changed_suites() {
  local one changes since=(diff --no-renames --name-only "$1") new=(ls-files -o --exclude-standard)
  changes=$(git "${since[@]}"; git "${new[@]}")
  if grep -vE '^$|^docs/screenshots/|^(docs/)?[A-Za-z]+\.md$' <<<"$changes" || grep -E '^docs/(QUICKSTART|API|config|SECURITY)\.md$' <<<"$changes"; then
    echo test
  fi | tail -n 1
  for one in $(provable); do
    if [[ -n $(files "$one" "${since[@]}"; files "$one" "${new[@]}") ]]; then echo "$one"; fi
  done
}
