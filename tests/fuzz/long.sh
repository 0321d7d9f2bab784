#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs each libFuzzer target for some seconds: long.sh FOLDER_OF_BINARIES SECONDS. The seeds are only read; what is found
# lies below FOLDER_OF_BINARIES/found/NAME. A crash, leak, hang or runaway of memory fails the run and leaves its input there.
set -u
bin=$1
seconds=$2
here=$(dirname "$0")
failed=0 ran=0

for target in "$bin"/fuzz_*; do
    case $target in *.d | *'*') continue ;; esac
    name=$(basename "$target")
    seeds=$here/corpus/${name#fuzz_}
    work=$bin/found/$name
    mkdir -p "$work/corpus"
    ran=$((ran + 1))
    log=$work/log
    if "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$work/" "$work/corpus" $(test -d "$seeds" && echo "$seeds") >"$log" 2>&1; then
        echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs"
    else
        failed=$((failed + 1))
        echo "$name: FAILED, see $log"
        grep -E 'ERROR|SUMMARY|runtime error|Test unit written' "$log" | head -5
    fi
done
echo "$((ran - failed)) passed, $failed failed"
test "$ran" -gt 0 && test "$failed" -eq 0
