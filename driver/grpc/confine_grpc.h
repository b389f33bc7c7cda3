/* SPDX-License-Identifier: Apache-2.0 */
/* What is left to the process that foreign bytes are parsed in. */
#ifndef DAXFS_CONFINE_GRPC_H
#define DAXFS_CONFINE_GRPC_H

#define GRPC_USER "daxfs-grpc" /* need not exist */

/*
 * Become `user` if we are root ("": stay root), without
 * capabilities, and unable to open files, start programs or call anybody but
 * unix sockets. 0, or -1 after having logged why not.
 */
int grpc_confine(const char *user);

#endif
