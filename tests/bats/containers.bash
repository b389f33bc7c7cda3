# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2034
# For tests that run containers: a private containerd with our daemons beside
# it (demo/daemons.bash), and an image made from busybox alone, without network.

. "$REPO/demo/steps.bash"
. "$REPO/demo/daemons.bash"

src=$REPO SNAPSHOTTER=daxfs DEMO_POOL_SIZE=256M

# After scratch.
containers_setup() {
	LOGS=$S/logs
	mkdir tmp fifo logs
	export TMPDIR=$S/tmp DAXFS_STATE=$S/run
}

# On a failure the daemons still run, and their logs say why.
containers_teardown() {
	if [[ ${BATS_TEST_COMPLETED:-} != 1 ]]; then
		tail -n 20 "$LOGS"/*.log
		stop_daemons
	fi
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
	for applet in cat cmp dd grep ln mkdir mv rm sh sleep sync test; do
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

no_snapshots() {
	[[ $(ctr snapshots --snapshotter daxfs ls | wc -l) -eq 1 ]]
}
