/* SPDX-License-Identifier: Apache-2.0
 * SVG: looked at with expat, drawn by librsvg (spec/imgserve.md sections 3, 6 and 9, spec/security.md section 7). */
#include "render.h"
#include "number.h"
#ifdef IIP_HAVE_JOBS
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef IIP_HAVE_EXPAT
#include <expat.h>
#endif
#ifdef IIP_HAVE_RSVG
#include <librsvg/rsvg.h>
#endif

#define MOST_ELEMENTS 200000
#define MOST_DEPTH    256

#ifdef IIP_HAVE_EXPAT
typedef struct {
    XML_Parser parser;
    int elements, depth, svg;
    double w, h;
} look;

/* "210mm": pixels of 1/96 inch; 0 where it says nothing by itself */
static double length(const char *text)
{
    static const struct {
        const char *unit;
        double pixels;
    } units[] = {{"", 1}, {"px", 1}, {"pt", 96. / 72}, {"pc", 16}, {"mm", 96 / 25.4}, {"cm", 96 / 2.54}, {"in", 96}};
    double v = job_decimal(&text);

    for (size_t i = 0; v > 0 && v < 1e6 && i < sizeof units / sizeof *units; i++)
        if (strcmp(text, units[i].unit) == 0)
            return v * units[i].pixels;
    return 0;
}

static void view_box(look *l, const char *text)
{
    double v[4];

    for (int i = 0; i < 4; i++) {
        v[i] = job_decimal(&text);
        if (isnan(v[i]))
            return;
        text += strspn(text, ", \t\r\n");
    }
    if (!(v[2] > 0 && v[3] > 0 && v[2] < 1e6 && v[3] < 1e6))
        return;
    if (l->w > 0 && l->h > 0)
        return;
    if (l->w > 0)
        l->h = l->w * v[3] / v[2];
    else if (l->h > 0)
        l->w = l->h * v[2] / v[3];
    else {
        l->w = v[2];
        l->h = v[3];
    }
}

static void element_begins(void *ctx, const char *name, const char **attribute)
{
    look *l = ctx;
    const char *colon = strrchr(name, ':'), *box = NULL;

    if (++l->elements > MOST_ELEMENTS || ++l->depth > MOST_DEPTH) {
        XML_StopParser(l->parser, XML_FALSE);
        return;
    }
    if (l->elements > 1)
        return;
    l->svg = strcmp(colon ? colon + 1 : name, "svg") == 0;
    for (; *attribute; attribute += 2) {
        if (strcmp(attribute[0], "width") == 0)
            l->w = length(attribute[1]);
        else if (strcmp(attribute[0], "height") == 0)
            l->h = length(attribute[1]);
        else if (strcmp(attribute[0], "viewBox") == 0)
            box = attribute[1];
    }
    if (box)
        view_box(l, box);
}

static void element_ends(void *ctx, const char *name)
{
    ((look *)ctx)->depth--;
}

/* --- piece by piece --- */

#define PIECE (16 << 10) /* inflated at once */

struct job_svg {
    look l;
    z_stream z;
    int64_t max_bytes;
    int known, packed, ended; /* the first octets are; it is compressed, and that has ended */
    unsigned char first, out[PIECE];
};

static apr_status_t free_svg(void *ctx)
{
    job_svg *s = ctx;

    XML_ParserFree(s->l.parser);
    if (s->packed)
        inflateEnd(&s->z);
    return APR_SUCCESS;
}

job_svg *job_svg_begin(int64_t max_bytes, apr_pool_t *p)
{
    job_svg *s = apr_pcalloc(p, sizeof *s);

    s->max_bytes = max_bytes;
    if (!(s->l.parser = XML_ParserCreate(NULL)))
        return NULL;
    XML_SetUserData(s->l.parser, &s->l);
    XML_SetElementHandler(s->l.parser, element_begins, element_ends);
    apr_pool_cleanup_register(p, s, free_svg, apr_pool_cleanup_null);
    return s;
}

static job_code parse_xml(job_svg *s, const void *data, size_t n, int last, job_error *e)
{
    const char *at = data;

    do { /* expat counts in int */
        const int piece = n < 1 << 20 ? (int)n : 1 << 20;

        if (XML_Parse(s->l.parser, at, piece, last && (size_t)piece == n) != XML_STATUS_OK)
            return job_fail(e, JOB_E_SVG, 0, "no well-formed SVG");
        at += piece;
        n -= (size_t)piece;
    } while (n > 0);
    return JOB_OK;
}

static job_code inflate_some(job_svg *s, const void *data, size_t n, job_error *e)
{
    s->z.next_in = (unsigned char *)(uintptr_t)data;
    s->z.avail_in = (unsigned)n;
    while (s->z.avail_in > 0 && !s->ended) {
        int rc;

        s->z.next_out = s->out;
        s->z.avail_out = PIECE;
        rc = inflate(&s->z, Z_NO_FLUSH);
        if (rc != Z_OK && rc != Z_STREAM_END)
            return job_fail(e, JOB_E_SVG, 0, "its compression is damaged");
        if ((int64_t)s->z.total_out > s->max_bytes)
            return job_fail(e, JOB_E_TOO_LARGE, 0, "the source is larger than allowed");
        if (parse_xml(s, s->out, PIECE - s->z.avail_out, 0, e) != JOB_OK)
            return e->code;
        s->ended = rc == Z_STREAM_END;
    }
    return JOB_OK;
}

/* One call of inflate() takes no more than it can count */
static job_code feed_piece(job_svg *s, const unsigned char *data, size_t n, job_error *e)
{
    return s->packed ? inflate_some(s, data, n, e) : parse_xml(s, data, n, 0, e);
}

job_code job_svg_feed(job_svg *s, const void *data, size_t n, job_error *e)
{
    const unsigned char *at = data;

    for (; n > 0 && s->known < 2; n--, at++) { /* the two octets of a compressed one may come one by one */
        if (s->known++ == 0) {
            s->first = *at;
            continue;
        }
        s->packed = s->first == 0x1f && *at == 0x8b;
        if (s->packed && inflateInit2(&s->z, 15 + 16) != Z_OK) {
            s->packed = 0;
            return job_fail(e, JOB_E_SVG, 1, "no memory");
        }
        if (feed_piece(s, &s->first, 1, e) != JOB_OK || feed_piece(s, at, 1, e) != JOB_OK)
            return e->code;
    }
    while (n > 0) {
        const size_t piece = n < 1 << 20 ? n : 1 << 20;

        if (feed_piece(s, at, piece, e) != JOB_OK)
            return e->code;
        at += piece;
        n -= piece;
    }
    return JOB_OK;
}

job_code job_svg_end(job_svg *s, double *w, double *h, job_error *e)
{
    const look *l = &s->l;

    if (s->packed && !s->ended)
        return job_fail(e, JOB_E_SVG, 0, "its compression is damaged");
    if (parse_xml(s, "", 0, 1, e) != JOB_OK)
        return e->code;
    *w = l->w > 0 && l->h > 0 ? l->w : 0;
    *h = l->w > 0 && l->h > 0 ? l->h : 0;
    return l->svg ? JOB_OK : job_fail(e, JOB_E_SVG, 0, "no well-formed SVG");
}
#else
job_svg *job_svg_begin(int64_t max_bytes, apr_pool_t *p)
{
    return apr_palloc(p, 1);
}

job_code job_svg_feed(job_svg *s, const void *data, size_t n, job_error *e)
{
    return job_fail(e, JOB_E_SVG, 0, "SVG is not built in");
}

job_code job_svg_end(job_svg *s, double *w, double *h, job_error *e)
{
    return job_fail(e, JOB_E_SVG, 0, "SVG is not built in");
}
#endif

job_code job_svg_look(const void *data, size_t n, int64_t max_bytes, double *w, double *h, apr_pool_t *p, job_error *e)
{
    job_svg *s = job_svg_begin(max_bytes, p);

    if (!s)
        return job_fail(e, JOB_E_SVG, 1, "no memory");
    return job_svg_feed(s, data, n, e) == JOB_OK ? job_svg_end(s, w, h, e) : e->code;
}

#if defined(IIP_HAVE_RSVG) && defined(IIP_HAVE_EXPAT)
/* The text of an SVGZ; what is not compressed is itself. */
static job_code inflated(const void **data, size_t *n, int64_t max_bytes, apr_pool_t *p, job_error *e)
{
    const unsigned char *in = *data;
    size_t room = 4 * *n + 4096;
    z_stream z = {0};
    unsigned char *out;
    iip_error why;
    int rc;

    if (*n < 2 || in[0] != 0x1f || in[1] != 0x8b)
        return JOB_OK;
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return job_fail(e, JOB_E_SVG, 1, "no memory");
    z.next_in = (unsigned char *)(uintptr_t)in;
    z.avail_in = *n > UINT32_MAX ? UINT32_MAX : (unsigned)*n;
    for (;; room *= 4) {
        if (room > (size_t)max_bytes)
            room = (size_t)max_bytes + 1;
        if (!(out = iip_codec_alloc(room, p, &why))) {
            inflateEnd(&z);
            return job_fail(e, JOB_E_SVG, 1, "no memory");
        }
        if (z.total_out)
            memcpy(out, *data, z.total_out);
        z.next_out = out + z.total_out;
        z.avail_out = (unsigned)(room - z.total_out);
        rc = inflate(&z, Z_FINISH);
        *data = out;
        *n = z.total_out;
        if (rc != Z_BUF_ERROR || z.avail_out > 0 || room > (size_t)max_bytes)
            break;
    }
    inflateEnd(&z);
    if (z.total_out > (size_t)max_bytes)
        return job_fail(e, JOB_E_TOO_LARGE, 0, "the source is larger than allowed");
    return rc == Z_STREAM_END ? JOB_OK : job_fail(e, JOB_E_SVG, 0, "its compression is damaged");
}

/* cairo's premultiplied words to straight octets */
static void straight(const unsigned char *from, size_t stride, iip_raster *out)
{
    for (int64_t y = 0; y < out->h; y++) {
        const uint32_t *in = (const void *)(from + (size_t)y * stride);
        unsigned char *to = out->px + (size_t)y * out->stride;

        for (int64_t x = 0; x < out->w; x++, to += 4) {
            const unsigned a = in[x] >> 24;

            for (int c = 0; c < 3 && a; c++) {
                const unsigned v = ((in[x] >> (16 - 8 * c) & 255) * 255 + a / 2) / a;

                to[c] = (unsigned char)(v < 255 ? v : 255);
            }
            to[3] = (unsigned char)a;
        }
    }
}

job_code job_svg_draw(const void *data, size_t n, int64_t max_bytes, const job_frame *f, iip_raster *out, apr_pool_t *p,
                      job_error *e)
{
    const double sx = (double)f->out_w / f->w, sy = (double)f->out_h / f->h;
    double w, h;
    cairo_surface_t *surface;
    RsvgHandle *svg;
    cairo_t *c;
    int good = 0;

    if (inflated(&data, &n, max_bytes, p, e) != JOB_OK || job_svg_look(data, n, max_bytes, &w, &h, p, e) != JOB_OK)
        return e->code;
    if (!(w > 0) || !(h > 0)) {
        w = f->w;
        h = f->h;
    }
    /* No base: fragments and data: are all it can refer to */
    if (!(svg = rsvg_handle_new_from_data(data, n, NULL)))
        return job_fail(e, JOB_E_SVG, 0, "no SVG that can be drawn");
    rsvg_handle_set_dpi(svg, 96);
    surface = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, (int)out->w, (int)out->h);
    c = cairo_create(surface);
    cairo_translate(c, (double)f->left, (double)f->top);
    cairo_rectangle(c, 0, 0, (double)f->out_w, (double)f->out_h);
    cairo_clip(c);
    cairo_scale(c, sx, sy);
    cairo_translate(c, -f->x, -f->y);
    good = rsvg_handle_render_document(svg, c, &(RsvgRectangle){0, 0, w, h}, NULL) &&
           cairo_status(c) == CAIRO_STATUS_SUCCESS;
    cairo_surface_flush(surface);
    if (good)
        straight(cairo_image_surface_get_data(surface), (size_t)cairo_image_surface_get_stride(surface), out);
    cairo_destroy(c);
    cairo_surface_destroy(surface);
    g_object_unref(svg);
    return good ? JOB_OK : job_fail(e, JOB_E_SVG, 0, "no SVG that can be drawn");
}
#else
job_code job_svg_draw(const void *data, size_t n, int64_t max_bytes, const job_frame *f, iip_raster *out, apr_pool_t *p,
                      job_error *e)
{
    return job_fail(e, JOB_E_SVG, 0, "SVG is not built in");
}
#endif
#endif
