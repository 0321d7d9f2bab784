/* SPDX-License-Identifier: Apache-2.0
 * PDF writer: one page around our JPEG (ISO 32000-1). Bytes leave as they are made: the picture's length is an object
 * of its own behind it, and the table of objects comes last. */
#include "codec/codec.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OBJECTS  9
#define MAX_UNIT 14400 /* of a page's side, in units (annex C) */

enum {
    CATALOG = 1,
    PAGES,
    PAGE,
    CONTENTS,
    IMAGE,
    LENGTH,
    MORE
}; /* then profile, XMP and notice, where there are any */

/* Counts what goes to the real sink; the JPEG writer writes to it too. */
typedef struct {
    iip_sink sink, *to;
    int64_t at;
} counter;

struct iip_writer {
    counter out;
    int64_t object[OBJECTS + 1]; /* where each begins, 0: there is none */
    int64_t start;               /* of the picture's bytes */
    int notice;                  /* number of its object, 0: there is none */
    iip_writer_t *jpeg;
};

static iip_status counted(iip_sink *sink, const void *p, size_t n, iip_error *e)
{
    counter *k = (counter *)sink;

    k->at += (int64_t)n;
    return k->to->write(k->to, p, n, e);
}

__attribute__((format(printf, 3, 4))) static iip_status put(iip_writer_t *w, iip_error *e, const char *format, ...)
{
    char text[600];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n < 0 || n >= (int)sizeof text)
        return iip_fail(e, IIP_E_IO, 0, "writing PDF: a line is too long");
    return counted(&w->out.sink, text, (size_t)n, e);
}

static iip_status begin_object(iip_writer_t *w, int number, iip_error *e)
{
    w->object[number] = w->out.at;
    return put(w, e, "%d 0 obj\n", number);
}

static iip_status put_stream(iip_writer_t *w, int number, const char *head, const void *data, size_t n, iip_error *e)
{
    if (begin_object(w, number, e) != IIP_OK || put(w, e, "<<%s/Length %zu>>\nstream\n", head, n) != IIP_OK ||
        (n > 0 && counted(&w->out.sink, data, n, e) != IIP_OK) || put(w, e, "\nendstream\nendobj\n") != IIP_OK)
        return e->status;
    return IIP_OK;
}

/* A real number by its digits: printf would ask the locale for the point. */
typedef struct {
    char text[32];
} number;

static number real(double v)
{
    const int64_t n = (int64_t)(v * 10000 + 0.5);
    number r;

    snprintf(r.text, sizeof r.text, "%" PRId64 ".%04" PRId64, n / 10000, n % 10000);
    return r;
}

/* The page shows the picture at its own resolution, else as 72 dots an inch. A page that would be too long for the
 * format has larger units. */
static iip_status put_pages(iip_writer_t *w, const iip_raster *shape, const iip_enc_opts *o, iip_error *e)
{
    const int known = o->res_x > 0.001 && o->res_y > 0.001 && o->res_x < 1e7 && o->res_y < 1e7;
    double width = (double)shape->w, height = (double)shape->h, longer, unit;
    char more[40] = "", units[50] = "", show[100];
    number x, y;

    if (known) {
        width *= 72 / 2.54 / o->res_x;
        height *= 72 / 2.54 / o->res_y;
    }
    longer = width > height ? width : height;
    unit = longer > MAX_UNIT ? longer / MAX_UNIT : 1;
    if (unit > 1)
        snprintf(units, sizeof units, "/UserUnit %s", real(unit).text);
    x = real(width / unit > 0.0001 ? width / unit : 0.0001);
    y = real(height / unit > 0.0001 ? height / unit : 0.0001);
    if (o->xmp_len)
        snprintf(more, sizeof more, "/Metadata %d 0 R", MORE + (o->icc_len > 0));
    if (begin_object(w, CATALOG, e) != IIP_OK ||
        put(w, e, "<</Type/Catalog/Pages %d 0 R%s>>\nendobj\n", PAGES, more) != IIP_OK ||
        begin_object(w, PAGES, e) != IIP_OK ||
        put(w, e, "<</Type/Pages/Kids[%d 0 R]/Count 1>>\nendobj\n", PAGE) != IIP_OK ||
        begin_object(w, PAGE, e) != IIP_OK ||
        put(w, e,
            "<</Type/Page/Parent %d 0 R/MediaBox[0 0 %s %s]%s/Contents %d 0 R/Resources<</XObject<</I %d 0 R>>"
            "/ProcSet[/PDF/%s]>>>>\nendobj\n",
            PAGES, x.text, y.text, units, CONTENTS, IMAGE, shape->bands == 1 ? "ImageB" : "ImageC") != IIP_OK)
        return e->status;
    snprintf(show, sizeof show, "q %s 0 0 %s 0 0 cm /I Do Q", x.text, y.text);
    return put_stream(w, CONTENTS, "", show, strlen(show), e);
}

/* A code point of UTF-8 that is known to be good. */
static uint32_t next_point(const unsigned char **s)
{
    uint32_t c = *(*s)++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

    c &= more ? 0x3fu >> more : 0x7f;
    for (; more && (**s & 0xc0) == 0x80; more--)
        c = c << 6 | (*(*s)++ & 0x3f);
    return c;
}

/* The document's information: a notice has no key in the standard, which allows other ones. As UTF-16 in hexadecimal.
 */
static iip_status put_notice(iip_writer_t *w, const char *text, iip_error *e)
{
    const unsigned char *s = (const unsigned char *)text;
    char hex[400];
    size_t n = 0;

    if (begin_object(w, w->notice, e) != IIP_OK || put(w, e, "<</Copyright<FEFF") != IIP_OK)
        return e->status;
    while (*s) {
        const uint32_t c = next_point(&s);

        if (c > 0xffff)
            n += (size_t)snprintf(hex + n, sizeof hex - n, "%04X%04X", (unsigned)(0xd7c0 + (c >> 10)) & 0xffff,
                                  (unsigned)(0xdc00 + (c & 0x3ff)));
        else
            n += (size_t)snprintf(hex + n, sizeof hex - n, "%04X", (unsigned)c);
        if (n > sizeof hex - 10 || !*s) {
            if (put(w, e, "%s", hex) != IIP_OK)
                return e->status;
            n = 0;
        }
    }
    return put(w, e, ">>>\nendobj\n");
}

static iip_status put_image_head(iip_writer_t *w, const iip_raster *shape, const iip_enc_opts *o, iip_error *e)
{
    const char *plain = shape->bands == 1 ? "/DeviceGray" : "/DeviceRGB";
    char space[40];

    if (o->icc_len)
        snprintf(space, sizeof space, "[/ICCBased %d 0 R]", MORE);
    if (begin_object(w, IMAGE, e) != IIP_OK)
        return e->status;
    return put(w, e,
               "<</Type/XObject/Subtype/Image/Width %" PRId64 "/Height %" PRId64 "/BitsPerComponent 8/ColorSpace%s"
               "/Filter/DCTDecode/Length %d 0 R>>\nstream\n",
               shape->w, shape->h, o->icc_len ? space : plain, LENGTH);
}

static iip_status pdf_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                            apr_pool_t *p, iip_error *e)
{
    const iip_encoder *jpeg = iip_encoder_find(IIP_FMT_JPEG);
    const iip_enc_opts inner = {.quality = o->quality};
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);
    char head[64];

    if (shape->w < 1 || shape->h < 1 || shape->w > jpeg->max_side || shape->h > jpeg->max_side)
        return iip_fail(e, IIP_E_LIMIT, 0, "PDF holds at most %" PRId64 " pixels a side here", jpeg->max_side);
    if (shape->sample != IIP_U8 || (shape->bands != 1 && shape->bands != 3))
        return iip_fail(e, IIP_E_FEATURE, 0, "PDF of %d bands", shape->bands);
    w->out = (counter){{counted}, k, 0};
    w->notice = o->copyright && *o->copyright ? MORE + (o->icc_len > 0) + (o->xmp_len > 0) : 0;
    snprintf(head, sizeof head, "/N %d/Alternate/%s", shape->bands, shape->bands == 1 ? "DeviceGray" : "DeviceRGB");
    /* the second line says that this is no text */
    if (put(w, e, "%%PDF-1.6\n%%\xe2\xe3\xcf\xd3\n") != IIP_OK || put_pages(w, shape, o, e) != IIP_OK ||
        (o->icc_len && put_stream(w, MORE, head, o->icc, o->icc_len, e) != IIP_OK) ||
        (o->xmp_len &&
         put_stream(w, MORE + (o->icc_len > 0), "/Type/Metadata/Subtype/XML", o->xmp, o->xmp_len, e) != IIP_OK) ||
        (w->notice && put_notice(w, o->copyright, e) != IIP_OK) || put_image_head(w, shape, o, e) != IIP_OK)
        return e->status;
    w->start = w->out.at;
    *out = w;
    return jpeg->begin(&w->jpeg, shape, &inner, &w->out.sink, p, e);
}

static iip_status pdf_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    return iip_encoder_find(IIP_FMT_JPEG)->rows(w->jpeg, strip, e);
}

static iip_status pdf_end(iip_writer_t *w, iip_error *e)
{
    int64_t length, table;
    int last = OBJECTS;

    if (iip_encoder_find(IIP_FMT_JPEG)->end(w->jpeg, e) != IIP_OK)
        return e->status;
    length = w->out.at - w->start;
    if (put(w, e, "\nendstream\nendobj\n") != IIP_OK || begin_object(w, LENGTH, e) != IIP_OK ||
        put(w, e, "%" PRId64 "\nendobj\n", length) != IIP_OK)
        return e->status;
    while (!w->object[last])
        last--;
    table = w->out.at;
    if (put(w, e, "xref\n0 %d\n0000000000 65535 f\r\n", last + 1) != IIP_OK)
        return e->status;
    for (int i = 1; i <= last; i++) /* 20 bytes each */
        if (put(w, e, "%010" PRId64 " 00000 n\r\n", w->object[i]) != IIP_OK)
            return e->status;
    if (put(w, e, "trailer\n<</Size %d/Root %d 0 R", last + 1, CATALOG) != IIP_OK ||
        (w->notice && put(w, e, "/Info %d 0 R", w->notice) != IIP_OK))
        return e->status;
    return put(w, e, ">>\nstartxref\n%" PRId64 "\n%%%%EOF\n", table);
}

const iip_encoder iip_encoder_pdf = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_PDF,
    .name = "pdf",
    .ext = "pdf",
    .mime = "application/pdf",
    .q_min = 1,
    .q_max = 100,
    .q_default = 75,
    .samples = 1u << IIP_U8,
    .max_side = 65500,
    .effort = 1.1,
    .begin = pdf_begin,
    .rows = pdf_rows,
    .end = pdf_end,
};
