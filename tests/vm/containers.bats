#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# In the guest: containerd runs containers on branches, on a stock kernel.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154

load ../bats/helpers
. "$REPO/demo/steps.bash"
. "$REPO/demo/daemons.bash"

src=$REPO NS=daxfs-vm SNAPSHOTTER=daxfs DEMO_POOL_SIZE=256M
IMAGE=daxfs.vm/busybox:latest

setup() {
	need root fuse containerd runc
	scratch
	LOGS=$S/logs
	mkdir tmp fifo logs
	export TMPDIR=$S/tmp DAXFS_STATE=$S/run
}

# On a failure the daemons still run, and their logs say why.
teardown() {
	if [[ ${BATS_TEST_COMPLETED:-} != 1 ]]; then
		tail -n 20 "$LOGS"/*.log
		stop_daemons
	fi
	scratch_end
}

blob() { # FILE; moves it into the image, prints its descriptor's ends
	local digest size

	digest=$(sha256sum "$1" | cut -d' ' -f1)
	size=$(stat -c %s "$1")
	mv "$1" "oci/blobs/sha256/$digest"
	echo "\"digest\":\"sha256:$digest\",\"size\":$size"
}

digest() { # DESCRIPTOR
	grep -o 'sha256:[0-9a-f]*' <<<"$1"
}

# Two layers, the second of which adds, changes and deletes.
make_image() {
	local v=application/vnd.oci.image applet one two config manifest

	mkdir -p oci/blobs/sha256 1/bin 1/etc 1/srv/dir 1/proc 1/dev 1/sys 2/etc 2/srv
	cp "$(command -v busybox)" 1/bin/busybox
	for applet in cat cmp dd grep ln mkdir mv rm sh sync test; do
		ln -s busybox 1/bin/$applet
	done
	echo one >1/etc/motd
	echo gone | tee 1/srv/gone >1/srv/dir/gone
	echo two >2/etc/motd
	echo added >2/srv/added
	touch 2/srv/.wh.gone 2/srv/.wh.dir
	tar -C 1 -cf 1.tar . && one=$(blob 1.tar)
	tar -C 2 -cf 2.tar . && two=$(blob 2.tar)
	cat >config <<-EOT
	{"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
	 "rootfs": {"type": "layers",
	            "diff_ids": ["$(digest "$one")", "$(digest "$two")"]}}
	EOT
	config=$(blob config)
	cat >manifest <<-EOT
	{"schemaVersion": 2, "mediaType": "$v.manifest.v1+json",
	 "config": {"mediaType": "$v.config.v1+json", $config},
	 "layers": [{"mediaType": "$v.layer.v1.tar", $one},
	            {"mediaType": "$v.layer.v1.tar", $two}]}
	EOT
	manifest=$(blob manifest)
	cat >oci/index.json <<-EOT
	{"schemaVersion": 2, "manifests": [
	 {"mediaType": "$v.manifest.v1+json", $manifest,
	  "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}
	EOT
	echo '{"imageLayoutVersion": "1.0.0"}' >oci/oci-layout
	tar -C oci -cf image.tar .
}

# What each container runs; on its second start it finds what it wrote, and ends
# with 7.
IN_CONTAINER='
set -e
grep -q " / fuse.daxfs " /proc/mounts
test ! -e /srv/gone && test ! -e /srv/dir
if test -e /mine; then
	test "$(cat /mine /etc/motd)" = "$0
two
changed by $0"
	cmp /var/a /var/b && cmp /var/a /bin/busybox
	exit 7
fi
test "$(cat /etc/motd /srv/added)" = "two
added"
echo "$0" >/mine
echo "changed by $0" >>/etc/motd
rm /srv/added
mkdir /var
dd if=/bin/busybox of=/var/x bs=100k
mv /var/x /var/a
ln /var/a /var/b
'

in_three() { # EXPECTED STATUS, COMMAND...; ID stands for the container's name
	local want=$1 id jobs=()
	shift

	for id in a b c; do
		(
			rc=0
			ctr "${@//ID/$id}" || rc=$?
			[[ $rc -eq $want ]] || echo "$id: exit status $rc"
		) >"$LOGS/$id.log" 2>&1 3>&- &
		jobs+=($!)
	done
	wait "${jobs[@]}"
	run_x 1 grep 'exit status' "$LOGS"/{a,b,c}.log
}

no_snapshots() {
	[[ $(ctr snapshots --snapshotter daxfs ls | wc -l) -eq 1 ]]
}

@test "three containers at once on one image, and again on their snapshots" {
	local id

	make_image
	start_daxfs
	start_containerd
	ctr images import --snapshotter daxfs --base-name "${IMAGE%:*}" image.tar
	in_three 0 run --snapshotter daxfs --runc-root "$S/runc" \
		--fifo-dir "$S/fifo" "$IMAGE" ID sh -c "$IN_CONTAINER" ID
	in_three 7 task start --fifo-dir "$S/fifo" ID
	# main, two layers, three containers.
	run_x daxfs-branch list --json "$S/daxfs/pool.daxfs"
	assert_equal "$(jq '.branches | length' <<<"$output")" 6
	for id in a b c; do
		ctr container delete $id
	done
	ctr images rm --sync "$IMAGE"
	wait_for 60 no_snapshots
	stop_daemons
	no_servers
	assert_equal "$(scratch_mounts)" ""
}
