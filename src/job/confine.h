/* SPDX-License-Identifier: Apache-2.0
 * What the processes of a job may not do. */
#ifndef IIP_JOB_CONFINE_H
#define IIP_JOB_CONFINE_H
#include <stddef.h>

/* CPU seconds, bytes of address space (0: as it is), bytes of a file; few descriptors, no core; killed when the parent
 * ends, which is parent (checked: it may have ended before). -1 if it has. */
int job_confine(long cpu, size_t memory, size_t file, int parent);
/* No socket, no other program, no other process touched, no file made, changed or opened for writing, from now on.
 * Where the kernel has no filters: nothing. */
void job_no_network(void);
/* Closes all descriptors but 0, 1, 2 and those n. */
void job_close_others(const int *keep, int n);
#endif
