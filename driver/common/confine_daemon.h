/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left to the daemons that work with files and mounts:
 * daxfs-snapshotter, and daxfs-fuse, daxfs-keeper and mkdaxfs, which inherit it
 * from who starts them. Of capabilities those to mount, to pass folders of
 * others, to give a socket to a user and to have memory while the kernel wants
 * to write back through us (PR_SET_IO_FLUSHER); of system calls those for files,
 * mounts, processes and unix sockets. Any other call is answered with ENOSYS,
 * not with death: mounts depend on these processes, and libraries try older
 * ways then.
 */
#ifndef DAXFS_CONFINE_DAEMON_H
#define DAXFS_CONFINE_DAEMON_H

#include <stdbool.h>

/*
 * others_files: the files may belong to other users, too (CAP_DAC_OVERRIDE). 0,
 * or -1 after having logged why not.
 */
int confine_daemon(bool others_files);

#endif
