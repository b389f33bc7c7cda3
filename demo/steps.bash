# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# Numbered steps: one line each with its time, all else into a log a step.

step_no=0
step_text=
step_log=

now_ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

seconds() { # MILLISECONDS
	printf '%d.%02d s' $(($1 / 1000)) $(($1 % 1000 / 10))
}

# Run a step: what it does for people, the function, its arguments. The function
# may set `note` to say what came out. set -e is in force inside.
step() {
	local start

	step_no=$((step_no + 1))
	step_text=$1
	shift
	step_log=$(printf '%s/%02d-%s.log' "$LOGS" "$step_no" "$1")
	note=
	start=$(now_ms)
	"$@" >"$step_log" 2>&1
	printf '%2d  %-58s %9s%s\n' "$step_no" "$step_text" \
		"$(seconds $(($(now_ms) - start)))" "${note:+  ($note)}" >&3
	step_text=
}

# In a step: say why it fails and stop.
die() {
	reason=$*
	echo "demo: $*"
	exit 1
}

# ERR trap: which command failed.
failing_command() {
	[[ -n ${reason:-} ]] || reason="'$BASH_COMMAND' failed with status $1"
}

explain_failure() { # EXIT STATUS
	if [[ -n ${interrupted:-} ]]; then
		echo "demo: interrupted${step_text:+ in step $step_no: $step_text}" >&3
		return
	fi
	echo "demo: failed in step $step_no: ${step_text:-between steps}" >&3
	echo "demo: why: ${reason:-exit status $1}" >&3
	if [[ -s $step_log ]]; then
		echo "demo: the end of $step_log:" >&3
		tail -n 15 "$step_log" | sed 's/^/    /' >&3
	fi
	echo "demo: all logs are in $LOGS" >&3
}

# Wait up to SECONDS for a command to succeed.
wait_for() { # SECONDS, COMMAND...
	local end=$((SECONDS + $1))
	shift

	until "$@" >/dev/null 2>&1; do
		[[ $SECONDS -lt $end ]] || return 1
		sleep 0.1
	done
}

mib() { # BYTES
	echo "$((($1 + 524288) / 1048576)) MiB"
}
