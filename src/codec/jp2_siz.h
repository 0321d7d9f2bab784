/* SPDX-License-Identifier: Apache-2.0
 * What the two files that read a code-stream's headers share. */
#ifndef IIP_JP2_SIZ_H
#define IIP_JP2_SIZ_H
#include "codec/jp2.h"

enum {
    SOC = 0xff4f,
    CAP = 0xff50,
    SIZ = 0xff51,
    COD = 0xff52,
    COC = 0xff53,
    QCD = 0xff5c,
    QCC = 0xff5d,
    RGN = 0xff5e,
    POC = 0xff5f,
    PPM = 0xff60,
    PPT = 0xff61,
    TLM = 0xff55,
    PLM = 0xff57,
    PLT = 0xff58,
    MCT = 0xff74,
    MCC = 0xff75,
    MCO = 0xff77,
    CBD = 0xff78,
    SOT = 0xff90,
    SOD = 0xff93,
    EOC = 0xffd9
};

#define IIP_JP2_WINDOW 4096

/* The part of the code-stream looked at. */
typedef struct {
    const iip_jp2_file *f;
    iip_error *e;
    unsigned char *buf; /* the caller frees it */
    int64_t at;
    size_t n;
    int segments;
} iip_jp2_window;

iip_status iip_jp2_window_open(iip_jp2_window *w, const iip_jp2_file *f, iip_error *e);
/* n (at most IIP_JP2_WINDOW) bytes of the code-stream, until the next call; NULL: w->e says why. */
const unsigned char *iip_jp2_look(iip_jp2_window *w, int64_t off, size_t n);
/* The marker at `at` and, but for SOT and SOD, the length of its segment, marker included: at + *len is at most end. */
iip_status iip_jp2_segment(iip_jp2_window *w, int64_t at, int64_t end, unsigned *marker, int64_t *len);
/* Applies a COD (to all components) or COC segment, from its marker on. */
iip_status iip_jp2_style(const iip_jp2_head *h, iip_jp2_coding *coding, const unsigned char *v, size_t n, iip_error *e);
/* Notes what tiles in that box need that are coded so; slack: wherever the box lies. */
iip_status iip_jp2_note(iip_jp2_head *h, const iip_jp2_coding *coding, iip_jp2_box box, int slack, iip_error *e);
/* Bytes that OpenJPEG builds for a tile of that box, wherever it lies, which is coded so. */
double iip_jp2_work(const iip_jp2_head *h, const iip_jp2_coding *coding, iip_jp2_box box);
/* All tile-parts, from `at` on, into *h; any as in iip_jp2_head_read(). */
iip_status iip_jp2_parts(iip_jp2_head *h, iip_jp2_window *w, int64_t at, int any, apr_pool_t *p);
/* Counts h->levels, of which the coding styles have at most so many already. */
iip_status iip_jp2_levels(iip_jp2_head *h, iip_error *e);

static inline iip_status iip_jp2_bad(iip_error *e, const char *what)
{
    return iip_fail(e, IIP_E_FORMAT, 0, "JPEG 2000: %s", what);
}

static inline iip_status iip_jp2_damaged(iip_error *e, const char *what)
{
    return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG 2000: %s", what);
}
#endif
