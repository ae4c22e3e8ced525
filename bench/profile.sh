#!/usr/bin/env bash
# Where the CPU time of gate and node goes, as processes of their own, under three loads.
#
#   cargo build --release && bash bench/profile.sh [DIR]
#
# Writes into DIR (default: bench/results/profile): a flame graph of each process under each load, and
# profile.md with the hottest symbols, the system calls of each thread by name and the CPU time of each
# thread. Needs `perf` (Debian: linux-perf), allowed to this user, and `cargo install inferno`.
set -euo pipefail

yumen=${YUMEN:-target/release/yumen}
out=${1:-bench/results/profile}
report=$out/profile.md
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$out"

# The one of this run's processes that serves as $1.
process_of() {
  local pid
  for pid in $(pgrep -P "$2"); do
    if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "bench serve-$1 "; then echo "$pid"; fi
  done
}

# Waits until both processes of the bench have used a tenth of a second: they are under load then.
wait_for_load() {
  local role pid
  for role in gate node; do
    for _ in $(seq 200); do
      pid=$(process_of "$role" "$1")
      if [ -n "$pid" ] && [ "$(awk '{print $14 + $15}' "/proc/$pid/stat")" -ge 20 ]; then break; fi
      sleep 0.1
    done
  done
}

# CPU time of each thread in milliseconds (ticks are 10 ms), one line "name ms" each.
threads() {
  local task
  for task in "/proc/$1/task/"*; do
    echo "$(cat "$task/comm" | tr ' ' '-')#$(basename "$task") $(awk '{print ($14 + $15) * 10}' "$task/stat")"
  done
}

# The share of samples at instructions that lock the bus, in percent: of an instance, its own reference
# counts and wakers. The kernel is not looked into.
atomics() {
  perf annotate -i "$1" --stdio --percent-type global-period 2>/dev/null | awk '
    /^ +[0-9.]+ +: / {atomic = /: +lock |xchg .*\(/; if (atomic || before) share += $1; before = atomic}
    END {printf "%.1f", share}'
}

# One load: $1 connections, $2 outstanding on each, $3 messages in all.
profile() {
  local load="${1}x${2}" bench role
  echo "$load: $3 messages" >&2
  "$yumen" bench echo --processes --connections "$1" --depth "$2" --messages "$3" \
    >"$work/$load.bench" 2>"$work/$load.err" &
  bench=$!
  wait_for_load "$bench"
  local -A pid
  for role in gate node; do pid[$role]=$(process_of "$role" "$bench"); done
  for role in gate node; do threads "${pid[$role]}" >"$work/$role.before"; done
  for role in gate node; do
    perf record -q -F 499 --call-graph dwarf,16384 -o "$work/$role.data" -p "${pid[$role]}" -- sleep 3 2>/dev/null &
    eval "recording_$role=$!"
  done
  wait "$recording_gate" "$recording_node"
  for role in gate node; do threads "${pid[$role]}" >"$work/$role.after"; done
  for role in gate node; do
    perf trace -s -o "$work/$role.calls" -p "${pid[$role]}" -- sleep 1 2>/dev/null
  done
  wait "$bench" || { cat "$work/$load.err" >&2; return 1; }
  for role in gate node; do
    perf script -i "$work/$role.data" --no-inline 2>/dev/null | inferno-collapse-perf >"$work/$role.folded"
    inferno-flamegraph --minwidth 0.2 --title "$role, $load" "$work/$role.folded" >"$out/$load-$role.svg"
    {
      printf '\n## %s, %s\n\n[Flame graph](%s-%s.svg), %s ms of CPU time sampled in 3 s; %s %% of it at an atomic\ninstruction or the one behind it.\n' \
        "$role" "$load" "$load" "$role" "$(awk '{n += $NF} END {printf "%d", n / 1e6}' "$work/$role.folded")" \
        "$(atomics "$work/$role.data")"
      printf '\nCPU time of its threads meanwhile, and the system calls of a further second by thread:\n\n```text\n'
      join <(sort "$work/$role.before") <(sort "$work/$role.after") | sed 's/#[0-9]*//' |
        awk '{printf "%-24s %6d ms\n", $1, $3 - $2}' | sort
      awk '/events/ {sub(/ \([0-9]+\)/, ""); print "\n" $0} $1 ~ /^[a-z_0-9]+$/ && $2 ~ /^[0-9]+$/ {printf "  %-14s %8d\n", $1, $2}' \
        "$work/$role.calls"
      printf '```\n\nSelf time, symbols from 1.2 %%:\n\n```text\n'
      perf report -i "$work/$role.data" --stdio --no-children -g none --percent-limit 1.2 2>/dev/null |
        awk '/%/ && !/^#/ {$2 = ""; print}' | cut -c1-150
      printf '```\n'
    } >>"$report"
  done
}

{
  printf '# Where the CPU time of gate and node goes\n\n`bash bench/profile.sh`, %s, %s, %s cores, Linux %s. 1 KiB of JSON a message.\n' \
    "$(date -u +%F)" "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r | cut -d- -f1)"
} >"$report"
profile 50 64 8000000
profile 1000 8 5000000
profile 50 1 1500000
echo "written: $report" >&2
