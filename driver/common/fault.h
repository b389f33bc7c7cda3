/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault points: places where a test has the process die. They exist in the
 * build with FAULTS=1 alone (build/faults); elsewhere they compile to nothing.
 *
 * There the environment's DAXFS_FAULTS names a folder. Its file `plan`, one
 * line "POINT COUNT kill", "POINT COUNT error ERRNO" or "POINT COUNT wait" (for
 * the file to go), strikes the COUNTth time that a process comes to that point,
 * once: COUNT is 0 then. To the file `trace`, where there is one, each process
 * adds the points that it comes to, "PROGRAM POINT" a line. --fault-points
 * prints the points that a program has.
 */
#ifndef DAXFS_FAULT_H
#define DAXFS_FAULT_H

#ifdef DAXFS_FAULTS

/* FAULT_POINT("room.step"); kills or waits. */
#define FAULT_POINT(name) ((void)FAULT_ERRNO(name))

/* The errno that an operation is to fail with here, or 0. */
#define FAULT_ERRNO(name)                                                      \
	({                                                                     \
		static const char *const fault_name_                           \
			__attribute__((used, section("fault_points"))) = name; \
		fault_hit(fault_name_);                                        \
	})

int fault_hit(const char *name);

/* Prints the points and exits where `option` is "--fault-points". */
void fault_option(const char *option);

#else

#define FAULT_POINT(name) ((void)0)
#define FAULT_ERRNO(name) 0
#define fault_option(option) ((void)0)

#endif

#endif
