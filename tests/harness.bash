# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What tests/run does with one part: run it in a scratch folder under a time
# limit, count its results, look for what it left behind.

passed=0 failed=0 skipped=0
failures=()

# Mounts propagate among our own processes as they do under systemd; /run is
# ours, empty; daxfs mounts of the host are not seen (they stay where they are:
# this mount namespace is private). Outer ones first, which takes all below them
# along: a path through one whose server hangs is not walked.
isolate() {
	local m

	while read -r m; do
		umount -lc "$m" 2>/dev/null
	done < <(awk '/ - fuse\.daxfs / { print $5 }' /proc/self/mountinfo)
	mount -t tmpfs -o mode=755 tmpfs /run && mount --make-rshared / || exit 1
	trap 'exit 130' INT TERM HUP
}

export_environment() {
	export PATH=$BUILD:$BUILD/tools:$PATH
	export BATS_LIB_PATH=/usr/lib/bats
	export CMOCKA_MESSAGE_OUTPUT=TAP
	export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
	export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
	export LC_ALL=C.UTF-8 TZ=UTC
	unset DAXFS_STATE
}

# Count results in a log: TAP, or what go test -v prints. Leaf tests count; a
# Go test that failed without a failed subtest counts itself. Prints one line
# a result: pass|fail|skip, a tab, the name.
results() {
	awk '
	function tap(kind, text) {
		sub(/^(not )?ok *[0-9]* *(- )?/, "", text)
		printf "%s\t%s\n", kind, text
		seen++
	}
	/^1\.\.0( *#.*)?$/ {
		sub(/^1\.\.0 *#? *(SKIP|skip)? */, "")
		printf "skip\tall of it: %s\n", $0
		next
	}
	/^1\.\.[0-9]+/ { planned += substr($1, 4); next }
	# cmocka skips as "not ok 2 # SKIP name"; bats says "not ok 2 name # skip
	# why" where a skipped test fails in its teardown.
	/^(ok .*|not ok [0-9]+ )# *(SKIP|skip)/ { tap("skip", $0); next }
	/^ok / { tap("pass", $0); next }
	/^not ok / { tap("fail", $0); next }
	/^ *--- (PASS|FAIL|SKIP): / {
		names[++n] = $3
		kinds[$3] = tolower(substr($2, 1, 4))
		parent = $3
		while (sub(/\/[^\/]*$/, "", parent)) {
			children[parent]++
			if ($2 == "FAIL:") bad[parent]++
		}
	}
	END {
		for (; seen < planned; seen++)
			print "fail\ta planned test gave no result"
		for (i = 1; i <= n; i++) {
			name = names[i]
			if (!children[name] || (kinds[name] == "fail" && !bad[name]))
				printf "%s\t%s\n", kinds[name], name
		}
	}' "$1"
}

# Is this skip one that CI may have? tests/allowed-skips: a regex a line.
skip_allowed() {
	grep -qxE -f <(grep -v -e '^#' -e '^$' "$TESTS/allowed-skips") <<<"$1"
}

fail() { # PART, WHAT
	failed=$((failed + 1))
	failures+=("$1: $2")
	echo "not ok $1: $2"
}

count() { # PART, LOG; sets n_pass, n_all
	local kind name

	n_pass=0 n_all=0
	while IFS=$'\t' read -r kind name; do
		n_all=$((n_all + 1))
		case $kind in
		pass) n_pass=$((n_pass + 1)) ;;
		fail) fail "$1" "$name" ;;
		skip)
			if [[ ${CI:-} == true ]] && ! skip_allowed "$1: $name"; then
				fail "$1" "skipped, which CI does not allow: $name"
			else
				skipped=$((skipped + 1))
				echo "skip $1: $name"
			fi
			;;
		esac
	done < <(results "$2")
	passed=$((passed + n_pass))
}

# Sets `left` to the processes of this run but for this shell, a line each. No
# forks here: they would find themselves.
processes() {
	local dir pid stat args

	left=
	[[ $UID -eq 0 ]] || return 0
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		[[ $pid -ne $$ ]] || continue
		read -r stat 2>/dev/null <"$dir/stat" || continue
		[[ ${stat##*) } != Z* ]] || continue
		mapfile -d '' -t args 2>/dev/null <"$dir/cmdline" || continue
		left+="$pid ${args[*]:-kernel}"$'\n'
	done
}

mounts() {
	cut -d' ' -f5 /proc/self/mountinfo | sort
}

# Places outside the scratch folder that tests must not touch.
host_state() {
	echo .
	find /run/daxfs /var/lib/daxfs /etc/daxfs ! -type d 2>/dev/null | sort
}

# Wait a moment for what is just ending, then name and remove what stays.
leaks() { # PART, DIR, MOUNTS BEFORE, STATE BEFORE
	local part=$1 dir=$2 left pid i

	for i in 1 2 3 4 5 6 7 8 9 10; do
		processes
		[[ -n $left ]] || break
		sleep 0.2
	done
	if [[ -n $left ]]; then
		fail "$part" "left processes: ${left//$'\n'/; }"
		while read -r pid _; do
			[[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null
		done <<<"$left"
	fi
	left=$(comm -13 <(echo "$3") <(mounts))
	if [[ -n $left ]]; then
		fail "$part" "left mounts: $(paste -sd' ' <<<"$left")"
		sort -r <<<"$left" | while read -r i; do umount -l "$i"; done
	fi
	left=$(find "$dir" -mindepth 1 ! -type d -printf '%P\n' | head -n 5)
	if [[ -n $left ]]; then
		fail "$part" "left files: $(paste -sd' ' <<<"$left")"
	fi
	left=$(diff <(echo "$4") <(host_state) | grep '^[<>]')
	if [[ -n $left ]]; then
		fail "$part" "changed the host: $(paste -sd' ' <<<"$left")"
	fi
	rm -rf --one-file-system "$dir"
}

run_tap() { # PART, SECONDS, COMMAND...
	local part=$1 limit=$2 dir=$SCRATCH/t log before_m before_s rc t0 t bad
	shift 2

	log=$LOGS/${part//\//-}.log
	if ! command -v "$1" >/dev/null; then
		fail "$part" "'$1' is not there; make check builds what it runs"
		return
	fi
	[[ -z ${LONG:-} ]] || limit=$((limit * 10))
	mkdir "$dir" || exit 1
	before_m=$(mounts) before_s=$(host_state) bad=$failed
	t0=$(date +%s%N)
	(cd "$dir" && TMPDIR=$dir exec timeout -k 10 "$limit" "$@") \
		</dev/null >"$log" 2>&1
	rc=$?
	t=$((($(date +%s%N) - t0) / 1000000))
	count "$part" "$log"
	case $rc in
	124 | 137) fail "$part" "ended by its time limit of $limit s" ;;
	0) [[ $n_all -gt 0 ]] || fail "$part" "ran no test" ;;
	*) [[ $failed -gt $bad ]] || fail "$part" "exit status $rc" ;;
	esac
	leaks "$part" "$dir" "$before_m" "$before_s"
	if [[ $failed -gt $bad ]]; then
		echo "---- the end of $log:"
		tail -n "${TEST_TAIL:-60}" "$log" | sed 's/^/  /'
		echo "----"
	fi
	printf '%-4s %-28s %4d passed  %d.%03d s\n' \
		"$([[ $failed -gt $bad ]] && echo FAIL || echo ok)" \
		"$part" "$n_pass" $((t / 1000)) $((t % 1000))
}

# The closing line; nothing is printed after it.
report() {
	local f

	if [[ ${#failures[@]} -gt 0 ]]; then
		echo "Failures (logs in ${LOGS#"$PWD"/}):"
		for f in "${failures[@]}"; do
			echo "  $f"
		done
	fi
	if [[ $passed -eq 0 && $failed -eq 0 ]]; then
		fail tests/run 'no test ran'
	fi
	echo "$passed passed, $failed failed, $skipped skipped"
	[[ $failed -eq 0 ]]
}
