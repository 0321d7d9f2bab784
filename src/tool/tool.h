/* SPDX-License-Identifier: Apache-2.0
 * The tool's commands beside the requests it answers. */
#ifndef IIP_TOOL_H
#define IIP_TOOL_H
/* `iip check [--json] PATH...`: a line for each picture. 0: all are good, 1: some are not, 2: wrong usage. */
int iip_check(int argc, const char *const *argv);
#endif
