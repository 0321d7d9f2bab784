/* SPDX-License-Identifier: Apache-2.0
 * What users of libjpeg share. */
#ifndef IIP_JPEG_H
#define IIP_JPEG_H

/* jpeg.c. 1 for a warning of libjpeg's (its msg_code) that costs no pixel: after others it goes on, with grey or
 * shifted ones. */
int iip_jpeg_harmless(int code);
#endif
