#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rules of the house that no compiler checks. Argument: the build folder. Ends with "N passed, N failed".
cd "$(dirname "$0")/.." || exit 2
build=${1:-build}
tally=$(mktemp) && trap 'rm -f "$tally"' EXIT

# rule TEXT: standard input holds the offences, one a line; none is good. (The end of a pipe is a shell of its own: hence a file.)
rule()
{
    found=$(cat)
    if [ -z "$found" ]; then
        echo passed >>"$tally"
    else
        echo failed >>"$tally"
        printf 'lint: %s\n%s\n' "$1" "$found" | sed '2,$s/^/    /'
    fi
}

# all of ours: whatever lies here but what is built or fetched
ours() { find . \( -name .git -o -path ./build -o -name node_modules -o -name __pycache__ -o -name .pytest_cache -o -path ./tests/fuzz/corpus \) -prune \
    -o -type f -print | sed 's|^\./||' | sort; }
named() { ours | grep -E "\.($1)\$"; }
core() { find src -name '*.[ch]' ! -path 'src/httpd/*' | sort; }

core | xargs grep -nE '#[ ]*include[ ]*[<"](httpd|http_[a-z]+|ap_[a-z_]+|apr_buckets|apr_brigade|util_filter|util_[a-z]+|scoreboard|mpm_common|mod_[a-z]+)\.h' | grep -v '"mod_iip\.h"' |
    rule "the core includes no header of httpd and no buckets"
find src mod_iip.c -name '*.[ch]' ! -path src/cache/l2_apr.c | xargs grep -n 'apr_memcache\.h' | rule "apr_memcache only in src/cache/l2_apr.c"
find src mod_iip.c -name '*.[ch]' ! -path 'src/job/*' | xargs grep -n 'curl/curl\.h' | rule "libcurl only in src/job/"
core | grep -v '^src/tool/' | xargs grep -nE '\b(f?printf|puts|perror|syslog|ap_log_[a-z]+)\(' | rule "the core does not print and does not log"

for f in $(named 'c|h|py|sh|js|lua'); do
    n=$(wc -l <"$f")
    if [ "$n" -gt 900 ]; then
        echo "$f: $n lines"
    elif [ "$n" -gt 600 ] && ! sed -n '1,/\*\/\|^"""$\|"""$\|^$/p' "$f" | grep -qiE 'long|600'; then
        echo "$f: $n lines, and its first comment does not say why so long"
    fi
done | rule "no file over 900 lines, over 600 only with a reason in the first comment"

for f in $(named 'c|h|py|sh|js|lua'); do
    sed -n 1,2p "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || echo "$f"
done | rule "SPDX line first (behind #! second)"

ours | grep -vE 'package-lock\.json|tests/lint\.sh|^LICENSE' | xargs grep -nIE '\b(TODO|FIXME|XXX|HACK)\b|not implemented' | rule "no TODO"
find src mod_iip.c conf README.md Makefile -type f | xargs grep -nE '/(work|root|home)/|/tmp/' | grep -vE 'find /|README.md:.*example' | rule "no path of one machine"

core | xargs grep -nE '\b(ato[ifl]+|strto[dflul]+|sscanf|s?scanf|sprintf|vsprintf|strcpy|strcat|gets|alloca|mmap|setlocale)\(' |
    rule "no unbounded or locale-bound calls (spec: numbers by own parsers, files by pread)"
# the job service is made of processes: these three files begin and end them
find src mod_iip.c -name '*.[ch]' ! -path 'src/tool/*' ! -path src/job/run.c ! -path src/job/work.c ! -path src/httpd/runners.c |
    xargs grep -nE '\b(abort|_?exit|system|popen|fork|execv[pe]*)\(' | grep -v 'apr_' |
    rule "nothing that ends or leaves the process"

ls -A | grep -vE '^(\.git|build|node_modules|\.pytest_cache)$' | grep -vxE '\.ci|\.clang-format|\.gitignore|LICENSE|Makefile|README\.md|conf|mod_iip\.c|src|tests' |
    rule "the top level is that of the plan"
wc -l mod_iip.c | awk '$1 > 300' | rule "mod_iip.c is a table of contents: 300 lines at most"

if rows=$("$build/iip" -D) && [ -n "$rows" ]; then
    printf '%s\n' "$rows" | while IFS= read -r row; do
        grep -qxF -- "$row" README.md || printf 'README.md lacks the row %.60s...\n' "$row"
    done | rule "README's table of directives is that of iip -D"
    printf '%s\n' "$rows" | sed 's/^| `\([A-Za-z]*\)`.*/\1/' | while read -r d; do
        grep -qE "^[# ]*$d\b" conf/iip.conf || echo "$d"
    done | rule "every directive is in conf/iip.conf"
    known=$(printf '%s\n' "$rows" | sed 's/^| `\([A-Za-z]*\)`.*/\1/')
    cat conf/iip.conf conf/examples/*.conf | sed -n 's/^[# ]*\(II[IP][PF][A-Z][A-Za-z]*\|JPIP[A-Z][A-Za-z]*\) .*/\1/p' | sort -u | while read -r d; do
        printf '%s\n' "$known" | grep -qx "$d" || echo "$d"
    done | rule "conf/ names no directive that is not there"
else
    echo "$build/iip -D gives nothing" | rule "the list of directives"
fi

for t in tests/fuzz/fuzz_*.c; do
    n=$(basename "$t" .c | sed 's/^fuzz_//')
    [ -n "$(ls "tests/fuzz/corpus/$n" 2>/dev/null)" ] || echo "$n"
done | rule "every fuzz target has a corpus"

find src tests mod_iip.c -name '*.[ch]' -not -path '*/node_modules/*' | sort | xargs clang-format --dry-run -Werror 2>&1 |
    grep -E ':[0-9]+:[0-9]+: error' | cut -d: -f1 | uniq | rule "clean by clang-format"

failed=$(grep -c failed "$tally")
echo "$(grep -c passed "$tally") passed, $failed failed"
[ "$failed" = 0 ]
