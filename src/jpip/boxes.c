/* SPDX-License-Identifier: Apache-2.0
 * The top level of a JP2, JPX or JPH file, or a bare code-stream: its boxes and where its code-streams lie (T.800
 * annex I; fragment lists: T.801 annex M). */
#include "jpip/index.h"
#include <string.h>
#include <apr_strings.h>
#include <apr_tables.h>

#define MOST_BOXES   1000000
#define MOST_STREAMS 100000
#define MOST_LIST    ((int64_t)2 << 20) /* bytes of a box that lists fragments or names */

#define TAG(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

typedef struct {
    jpip_boxes *b;
    apr_pool_t *p;
    iip_error *e;
    apr_array_header_t *box, *stream, *url;
} top;

static iip_status bad(top *t, const char *what)
{
    return iip_fail(t->e, IIP_E_FORMAT, 0, "JPIP: %s", what);
}

static iip_status get(top *t, void *buf, size_t n, int64_t at)
{
    return t->b->s->read(t->b->s, buf, n, at, t->e);
}

/* --- one box ------------------------------------------------------------------------------------------------------ */

/* The header at `at`. A code-stream may be cut by the end of the file. */
static iip_status box_at(top *t, int64_t at, int64_t end, jpip_box *out)
{
    unsigned char v[16];
    uint64_t n;

    if (end - at < 8)
        return bad(t, "a box that ends in its header");
    if (get(t, v, 8, at) != IIP_OK)
        return t->e->status;
    *out = (jpip_box){.at = at, .head = 8};
    memcpy(out->type, v + 4, 4);
    n = iip_jp2_be32(v);
    if (n == 0) {
        n = (uint64_t)(end - at);
    } else if (n == 1) {
        out->head = 16;
        if (end - at < 16)
            return bad(t, "a box that ends in its header");
        if (get(t, v + 8, 8, at + 8) != IIP_OK)
            return t->e->status;
        n = (uint64_t)iip_jp2_be32(v + 8) << 32 | iip_jp2_be32(v + 12);
    }
    if (n < out->head)
        return bad(t, "a box shorter than its header");
    if (n > (uint64_t)(end - at)) {
        if (memcmp(out->type, "jp2c", 4) != 0)
            return bad(t, "a box that is longer than what it stands in");
        n = (uint64_t)(end - at);
    }
    out->len = (int64_t)n - out->head;
    return IIP_OK;
}

static const unsigned char *contents(top *t, const jpip_box *b)
{
    unsigned char *mem;

    if (b->len > MOST_LIST) {
        bad(t, "a list of more than two megabytes");
        return NULL;
    }
    mem = iip_codec_alloc((size_t)b->len + 1, t->p, t->e);
    return mem && get(t, mem, (size_t)b->len, b->at + b->head) == IIP_OK ? mem : NULL;
}

/* --- code-streams ------------------------------------------------------------------------------------------------- */

static void put_stream(top *t, int box, int64_t at, int64_t len)
{
    iip_jp2_place *place = apr_palloc(t->p, sizeof *place);

    *place = (iip_jp2_place){at, len};
    APR_ARRAY_PUSH(t->stream, jpip_stream) = (jpip_stream){.box = box, .places = 1, .place = place};
}

/* flst in a ftbl: one code-stream. A list that cannot be read is a broken link, no reason to refuse the file. */
static iip_status fragments(top *t, int box, const jpip_box *list)
{
    jpip_stream *s = &APR_ARRAY_PUSH(t->stream, jpip_stream);
    const unsigned char *v;
    iip_jp2_place *place;
    int n;

    *s = (jpip_stream){.box = box, .broken = 1};
    if (list->len < 2)
        return IIP_OK;
    if (!(v = contents(t, list)))
        return t->e->status;
    n = (int)iip_jp2_be16(v);
    if (n == 0 || list->len < 2 + 14 * (int64_t)n)
        return IIP_OK;
    if (!(place = iip_codec_alloc((size_t)n * sizeof *place, t->p, t->e)))
        return t->e->status;
    s->link = (int)iip_jp2_be16(v + 2 + 12);
    s->broken = 0;
    for (int i = 0; i < n; i++) {
        const unsigned char *q = v + 2 + 14 * (size_t)i;

        place[i] = (iip_jp2_place){(int64_t)((uint64_t)iip_jp2_be32(q) << 32 | iip_jp2_be32(q + 4)),
                                   (int64_t)iip_jp2_be32(q + 8)};
        s->broken |= place[i].at < 0 || (int)iip_jp2_be16(q + 12) != s->link;
    }
    s->place = place;
    s->places = n;
    return IIP_OK;
}

static iip_status table(top *t, int number, const jpip_box *b)
{
    const int64_t end = b->at + b->head + b->len;
    jpip_box in;

    for (int64_t at = b->at + b->head; end - at >= 8; at = in.at + in.head + in.len) {
        if (box_at(t, at, end, &in) != IIP_OK)
            return t->e->status;
        if (memcmp(in.type, "flst", 4) == 0)
            return fragments(t, number, &in);
    }
    APR_ARRAY_PUSH(t->stream, jpip_stream) = (jpip_stream){.box = number, .broken = 1};
    return IIP_OK;
}

/* --- names of other files ----------------------------------------------------------------------------------------- */

static iip_status names(top *t, int number, const jpip_box *b)
{
    const int64_t end = b->at + b->head + b->len;
    jpip_box in;

    if (t->url->nelts || b->len < 2)
        return IIP_OK; /* the first counts */
    for (int64_t at = b->at + b->head + 2; end - at >= 8; at = in.at + in.head + in.len) {
        const char *text = "";

        if (box_at(t, at, end, &in) != IIP_OK)
            return t->e->status;
        if (memcmp(in.type, "url ", 4) == 0 && in.len > 4 && in.len <= 8192) {
            const unsigned char *v = contents(t, &in);

            if (!v)
                return t->e->status;
            text = apr_pstrndup(t->p, (const char *)v + 4, (size_t)in.len - 4);
        }
        APR_ARRAY_PUSH(t->url, const char *) = text;
        if (t->url->nelts > MOST_STREAMS)
            return bad(t, "more than 100000 names of files");
    }
    return IIP_OK;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

static iip_status jp2c(top *t, int number, const jpip_box *b)
{
    put_stream(t, number, b->at + b->head, b->len);
    return IIP_OK;
}

static const struct {
    const char *type;
    iip_status (*read)(top *t, int number, const jpip_box *b);
} rows[] = {{"jp2c", jp2c}, {"ftbl", table}, {"dtbl", names}};

static iip_status all_boxes(top *t)
{
    jpip_box box;

    for (int64_t at = t->b->from; at < t->b->to; at = box.at + box.head + box.len) {
        if (box_at(t, at, t->b->to, &box) != IIP_OK) {
            /* what stands behind the code-stream may be anything: many files end in padding */
            if (t->e->status != IIP_E_FORMAT || !t->stream->nelts)
                return t->e->status;
            t->e->status = IIP_OK;
            break;
        }
        if (t->box->nelts == MOST_BOXES)
            return bad(t, "more than a million boxes");
        APR_ARRAY_PUSH(t->box, jpip_box) = box;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            if (memcmp(box.type, rows[i].type, 4) == 0 && rows[i].read(t, t->box->nelts - 1, &box) != IIP_OK)
                return t->e->status;
        if (t->stream->nelts > MOST_STREAMS)
            return bad(t, "more than 100000 code-streams");
    }
    return t->stream->nelts ? IIP_OK : bad(t, "a file without a code-stream");
}

iip_status jpip_boxes_read(jpip_boxes *b, iip_source_t *s, int64_t from, int64_t to, apr_pool_t *p, iip_error *e)
{
    static const unsigned char signature[] = {0, 0, 0, 12, 'j', 'P', ' ', ' ', '\r', '\n', 0x87, '\n'};
    top t = {.b = b, .p = p, .e = e};
    unsigned char v[sizeof signature];

    memset(b, 0, sizeof *b);
    b->s = s;
    b->from = from;
    b->to = to;
    e->status = IIP_OK;
    t.box = apr_array_make(p, 16, sizeof(jpip_box));
    t.stream = apr_array_make(p, 1, sizeof(jpip_stream));
    t.url = apr_array_make(p, 1, sizeof(const char *));
    if (from < 0 || to > s->id.size || to - from < (int64_t)sizeof v)
        return bad(&t, "too few bytes");
    if (get(&t, v, sizeof v, from) != IIP_OK)
        return e->status;
    if (iip_jp2_be32(v) == TAG(0xff, 0x4f, 0xff, 0x51))
        put_stream(&t, -1, from, to - from);
    else if (memcmp(v, signature, sizeof v) != 0)
        return bad(&t, "no JPEG 2000");
    else if (all_boxes(&t) != IIP_OK)
        return e->status;
    b->box = (const jpip_box *)(const void *)t.box->elts;
    b->boxes = t.box->nelts;
    b->stream = (const jpip_stream *)(const void *)t.stream->elts;
    b->streams = t.stream->nelts;
    b->url = (const char *const *)(const void *)t.url->elts;
    b->urls = t.url->nelts;
    return IIP_OK;
}

iip_status jpip_boxes_stream(const jpip_boxes *b, int n, iip_source_t *s, iip_jp2_file *f, apr_pool_t *p, iip_error *e)
{
    const jpip_stream *k = &b->stream[n];

    memset(f, 0, sizeof *f);
    f->s = s;
    f->space = IIP_JP2_NO_SPACE;
    e->status = IIP_OK;
    if (k->broken)
        return iip_fail(e, IIP_E_CORRUPT, 0, "JPIP: code-stream %d is nowhere", n);
    if (!(f->piece = iip_codec_alloc((size_t)k->places * sizeof *f->piece, p, e)))
        return e->status;
    f->pieces = k->places;
    for (int i = 0; i < k->places; i++) {
        iip_jp2_place q = k->place[i];

        if (q.len == 0)
            q.len = s->id.size - q.at;
        if (q.at > s->id.size || q.len < 0 || q.len > s->id.size - q.at)
            return iip_fail(e, IIP_E_CORRUPT, 0, "JPIP: code-stream %d lies outside of its file", n);
        f->piece[i] = q;
        f->len += q.len;
    }
    return IIP_OK;
}
