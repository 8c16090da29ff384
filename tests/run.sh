#!/bin/bash
# Installs the missing tools of the tests (Debian packages; cargo-deny into ~/.cache), then runs all
# tests. Nothing is skipped: a client or a tool that can't be installed fails the run. The script
# needs the Rust toolchain, and apt with root's rights if a package is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 1; }
step() { # step NAME COMMAND...: a step that fails ends the run
    say "$1"; shift
    local start=$SECONDS
    "$@" || fail "failed: $*"
    printf -- '-- %d s\n' $((SECONDS - start))
}

install_packages() {
    local missing=()
    need() { command -v "$1" >/dev/null || missing+=("$2"); }
    need cc gcc; need tftp tftp-hpa; need atftp atftp; need curl curl; need busybox busybox; need timeout coreutils
    need ip iproute2; need strace strace; need valgrind valgrind
    [ ${#missing[@]} -gt 0 ] || { echo "all there"; return; }
    echo "missing: ${missing[*]}"
    command -v apt-get >/dev/null || fail "no apt-get here: install ${missing[*]} by other means"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "run as root, or install: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# Compiled once for each machine. Without optimisation this takes a minute instead of several, and
# the tool is still fast enough for one lock file.
install_cargo_deny() {
    command -v cargo-deny >/dev/null ||
        CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root "$tools" cargo-deny@0.20.2
    cargo-deny --version
}

# Doc tests run apart, as nextest runs none. The tests use the delivered features. Only the tests
# that need the features `chaos` or `testkit` are built with them.
run_tests() {
    local failed=0
    if command -v cargo-nextest >/dev/null; then
        cargo test -q --doc --features testkit && cargo nextest run || failed=1
        cargo nextest run --features chaos,testkit --lib --test 'supervision_chaos*' --test extend_testkit --test sim_actors \
            -E 'test(/^chaos::/) | binary(/^supervision_chaos/) | binary(extend_testkit) | binary(sim_actors)' || failed=1
    else
        cargo test --no-fail-fast || failed=1
        cargo test --no-fail-fast --features chaos,testkit --test 'supervision_chaos*' --test extend_testkit --test sim_actors ||
            failed=1
        cargo test --features chaos --lib chaos:: || failed=1
    fi
    return $failed
}

tools=${XDG_CACHE_HOME:-$HOME/.cache}/stagecoach-tests
export PATH=$PATH:$tools/bin
rm -f target/tmp/interop-*.txt target/tmp/chaos-storm.txt target/tmp/embedding.txt

step 'what the tests need' install_packages
step 'cargo-deny' install_cargo_deny
step 'format' cargo fmt --check
step 'clippy' cargo clippy --all-targets --all-features -- -D warnings
step 'documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --all-features
step 'licences, bans, sources' cargo deny --all-features check licenses bans sources
step 'instructions for each packet' cargo bench -q --bench guard
say 'tests'
start=$SECONDS status=0 log=target/tests.log
run_tests 2>&1 | tee "$log" || status=$?
for table in target/tmp/interop-*.txt target/tmp/chaos-storm.txt target/tmp/embedding.txt; do
    [ ! -e "$table" ] || { say "$table"; cat "$table"; }
done
printf -- '-- %d s, all in all %d s\n\n' $((SECONDS - start)) "$SECONDS"
sum() { grep -aE '^test result:|^ *Summary \[' "$log" | { grep -oE "[0-9]+ $1" || true; } | awk '{ n += $1 } END { print n + 0 }'; }
# Prints the failures again at the end, where a reader of a long output looks first.
[ "$status" -eq 0 ] || { say 'what failed'; sed -n '/^failures:$/,/^test result:/p; /^ *\(FAIL\|TIMEOUT\|SIG[A-Z]*\) \[/p' "$log"; }
echo "$(sum passed) passed, $(sum failed) failed"
[ "$status" -eq 0 ] || fail 'tests failed; see above'
