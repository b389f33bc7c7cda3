# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# What the guest boots from, kept in $CACHE: Debian's kernel with an initramfs
# of the modules that matter here, and an image of this machine's own user
# space, cut down to what the tests need. Nothing is installed on the host.

META=linux-image-amd64
MODULES=(virtio_pci virtio_blk crc32c_generic ext4 loop overlay fuse nd_e820
	nd_pmem)
PACKAGES=(acl attr bats bats-assert bats-file bats-support busybox-static
	containerd e2fsprogs fuse3 git groff-base jq libcap2 libcap2-bin
	libfuse3-3 libinih1 libjson-c5 libmicrohttpd12 libnghttp2-14
	libpcre2-8-0 libprotobuf-c1 libseccomp2 libsqlite3-0 libsystemd0
	linux-libc-dev mawk mount procps psmisc runc sqlite3)

# The versioned package that the metapackage stands for; empty if apt does not
# know.
kernel_package() {
	apt-cache depends "$META" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

package_version() { # PACKAGE
	apt-cache show --no-all-versions "$1" | sed -n 's/^Version: //p'
}

# A name that changes with what a part of the cache is made from.
cache_name() { # PREFIX, TEXT
	echo "$CACHE/$1-$( (echo "$2" && cat "$here/image.bash" "$here/init") |
		sha256sum | cut -c1-12)"
}

# Move what is ready to its place, and drop what it replaces.
cache_put() { # PREFIX, FROM, TO
	rm -rf "$CACHE/$1"-*
	mv "$2" "$3"
}

# ---- The kernel --------------------------------------------------------------

# Sets KERNEL, a folder with vmlinuz and base.cpio.
get_kernel() {
	local package

	package=$(kernel_package)
	if [[ -z $package ]]; then
		apt-get -q -o DPkg::Lock::Timeout=300 update >&2 || return 1
		package=$(kernel_package)
	fi
	if [[ -z $package ]]; then
		echo "vm: apt knows no $META" >&2
		return 1
	fi
	KERNEL=$(cache_name kernel "$package $(package_version "$package")")
	[[ ! -d $KERNEL ]] || return 0
	mkdir -p "$scratch/deb" "$scratch/kernel" &&
		(cd "$scratch/deb" && apt-get -qq -o APT::Sandbox::User=root \
			download "$package" >&2) &&
		dpkg -x "$scratch/deb/$package"_*.deb "$scratch/deb/x" &&
		cp "$scratch/deb/x/boot"/vmlinuz-* "$scratch/kernel/vmlinuz" &&
		make_initramfs "$scratch/deb/x" "$scratch/kernel/base.cpio" &&
		cache_put kernel "$scratch/kernel" "$KERNEL" || return 1
	rm -rf "$scratch/deb"
}

# Modules are numbered in the order in which they have to be loaded.
make_initramfs() { # UNPACKED PACKAGE, OUTPUT
	local x=$1 dir=$1/initramfs release module n=100

	release=$(basename "$x"/lib/modules/*)
	mkdir -p "$dir"/{bin,modules,proc,dev,root} &&
		cp "$(command -v busybox)" "$dir/bin/busybox" &&
		cp "$here/init" "$dir/init" &&
		depmod -b "$x" "$release" || return 1
	while read -r module; do
		n=$((n + 1))
		cp "$module" "$dir/modules/$n-${module##*/}" || return 1
	done < <(for module in "${MODULES[@]}"; do
		modprobe -d "$x" -S "$release" --show-depends "$module" |
			sed -n 's/^insmod \([^ ]*\).*/\1/p'
	done | awk '!seen[$0]++')
	for module in "${MODULES[@]}"; do
		compgen -G "$dir/modules/*-$module.ko" >/dev/null && continue
		echo "vm: the kernel package has no module $module" >&2
		return 1
	done
	pack "$dir" "$2"
}

pack() { # DIR, OUTPUT
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort |
		cpio --quiet -o -H newc -R 0:0) >"$2"
}

# ---- User space --------------------------------------------------------------

# The packages, and what every Debian has, with all that they depend on, as
# installed here.
closure() {
	local essential

	mapfile -t essential < <(dpkg-query -W -f '${Essential} ${Package}\n' |
		sed -n 's/^yes //p')
	apt-cache depends --recurse --installed --no-recommends --no-suggests \
		--no-conflicts --no-breaks --no-replaces --no-enhances "$@" "${essential[@]}" |
		grep '^[a-z0-9]' | sort -u |
		xargs dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package} ${Version}\n' \
			2>/dev/null | sed -n 's/^i.  *//p'
}

# Sets ROOT, an ext4 image.
get_root() {
	local list dir=$scratch/root

	list=$(closure "${PACKAGES[@]}")
	[[ -n $list ]] || return 1
	ROOT=$(cache_name root "$list").img
	[[ ! -f $ROOT ]] || return 0
	mkdir -p "$dir"/{proc,sys,dev,run,tmp,root,mnt,repo,etc} \
		"$dir"/usr/{bin,sbin,lib,lib64} &&
		ln -s usr/bin usr/sbin usr/lib usr/lib64 "$dir/" &&
		package_files <<<"$list" |
		tar -C / -c --no-recursion --null -T - --ignore-failed-read |
			tar -C "$dir" -xp --keep-directory-symlink &&
		settings "$dir" &&
		mke2fs -q -F -t ext4 -O '^has_journal' -m 0 -d "$dir" \
			"$scratch/root.img" 1200M >&2 &&
		cache_put root "$scratch/root.img" "$ROOT" || return 1
	rm -rf "$dir"
}

package_files() {
	cut -d' ' -f1 | xargs dpkg-query -L | grep '^/' | sort -u |
		grep -vE '^/\.$|^/usr/share/(doc|man|info|locale|lintian)/' |
		sed 's,^/,,' | tr '\n' '\0'
}

# What packages' scripts would have made.
settings() { # ROOT
	ln -s mawk "$1/usr/bin/awk" &&
		cp /usr/share/base-passwd/passwd.master "$1/etc/passwd" &&
		cp /usr/share/base-passwd/group.master "$1/etc/group" &&
		ln -sf /proc/self/mounts "$1/etc/mtab" &&
		echo guest >"$1/etc/hostname"
}
