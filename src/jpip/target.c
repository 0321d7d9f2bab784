/* SPDX-License-Identifier: Apache-2.0
 * A JPIP target: see target.h. */
#include "jpip/target.h"
#include "path.h"
#include "serve.h"
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include <apr_tables.h>

#define MOST_BOXES 1000000 /* looked at in one search */
#define MOST_DEPTH 32

static int is_type(const jpip_box *box, const char *type)
{
    return !memcmp(box->type, type, 4);
}

static int has_bin(const jpip_box *box)
{
    return is_type(box, "asoc") || (box->len > JPIP_BOX_LARGE && !is_type(box, "jp2h"));
}

/* ---- reading ahead ---- */

#define AHEAD_LEAST 512
#define AHEAD_MOST  65536

/* The boxes of a movie are thousands of small ones in a row: one read for many of them. */
typedef struct {
    iip_source_t s;
    iip_source_t *under;
    unsigned char *buf; /* AHEAD_MOST */
    int64_t at;
    size_t n, next; /* bytes in it, and how many the next read takes */
} ahead;

static iip_status read_ahead(iip_source_t *s, void *to, size_t n, int64_t off, iip_error *e)
{
    ahead *a = (ahead *)s;
    int64_t rest = s->id.size - off;

    if (n >= AHEAD_LEAST || off < 0 || rest < (int64_t)n)
        return a->under->read(a->under, to, n, off, e);
    if (off < a->at || off + (int64_t)n > a->at + (int64_t)a->n) {
        int follows = a->n && off >= a->at && off <= a->at + (int64_t)a->n + AHEAD_LEAST;
        iip_status rv;

        a->next = !follows ? AHEAD_LEAST : a->next < AHEAD_MOST ? a->next * 2 : AHEAD_MOST;
        a->at = off;
        a->n = (int64_t)a->next < rest ? a->next : (size_t)rest;
        if ((rv = a->under->read(a->under, a->buf, a->n, off, e)) != IIP_OK) {
            a->n = 0;
            return rv;
        }
    }
    memcpy(to, a->buf + (off - a->at), n);
    return IIP_OK;
}

static iip_status read_boxes(jpip_target *t, iip_source_t *s, int64_t from, int64_t to, apr_pool_t *p, iip_error *e)
{
    ahead a = {.s = *s, .under = s, .buf = malloc(AHEAD_MOST)};
    iip_status rv;

    if (!a.buf)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory to read with");
    a.s.read = read_ahead;
    rv = jpip_boxes_read(&t->b, &a.s, from, to, p, e);
    t->b.s = s;
    free(a.buf);
    return rv;
}

/* ---- the bins ---- */

static void add_piece(jpip_target *t, int box, int64_t bin, int64_t stream)
{
    const jpip_box *b = &t->b.box[box];
    jpip_piece *last = t->pieces ? &t->piece[t->pieces - 1] : NULL;
    int plain = bin < 0 && stream < 0;
    int64_t len = plain ? b->head + b->len : 44 + b->head;

    if (plain && last && last->from >= 0 && last->from + last->len == b->at)
        last->len += len;
    else
        t->piece[t->pieces++] = (jpip_piece){t->top_len, len, plain ? b->at : -1, box, bin, stream};
    t->top_len += len;
}

iip_status jpip_target_open(jpip_target *t, iip_source_t *s, int64_t from, int64_t to, apr_pool_t *p, iip_error *e)
{
    char tag[33];
    int next = 0;
    iip_status rv;

    memset(t, 0, sizeof *t);
    if ((rv = read_boxes(t, s, from, to, p, e)) != IIP_OK)
        return rv;
    iip_serve_etag(s, "jpip", 4, tag);
    apr_cpystrn(t->tid, tag, sizeof t->tid);
    t->bins = 1;
    if (!t->b.boxes)
        return IIP_OK;
    t->piece = iip_codec_alloc((size_t)t->b.boxes * sizeof *t->piece, p, e);
    t->bin = iip_codec_alloc((size_t)t->b.boxes * sizeof *t->bin, p, e);
    if (!t->piece || !t->bin)
        return e->status;
    for (int i = 0; i < t->b.boxes; i++) {
        const jpip_box *b = &t->b.box[i];

        if (next < t->b.streams && t->b.stream[next].box == i) {
            add_piece(t, i, -1, next++);
        } else if (has_bin(b)) {
            t->bin[t->bins - 1] = b;
            add_piece(t, i, t->bins++, -1);
            t->meta_len += b->len;
        } else {
            add_piece(t, i, -1, -1);
        }
    }
    t->meta_len += t->top_len;
    return IIP_OK;
}

int64_t jpip_target_meta_len(const jpip_target *t, int64_t bin)
{
    return bin ? t->bin[bin - 1]->len : t->top_len;
}

static iip_status placeholder(const jpip_target *t, const jpip_piece *pc, unsigned char *out, iip_error *e)
{
    const jpip_box *b = &t->b.box[pc->box];
    unsigned char head[16];
    iip_status rv = t->b.s->read(t->b.s, head, b->head, b->at, e);

    if (rv == IIP_OK)
        jpip_placeholder_write(out, pc->bin >= 0 ? 1 : 4, pc->bin >= 0 ? (uint64_t)pc->bin : 0, head, b->head,
                               pc->stream >= 0 ? (uint64_t)pc->stream : 0);
    return rv;
}

iip_status jpip_target_meta_read(const jpip_target *t, int64_t bin, int64_t off, void *buf, size_t n, iip_error *e)
{
    unsigned char *to = buf, box[JPIP_PLACEHOLDER_MAX];
    int lo = 0, hi = t->pieces;

    if (off < 0 || (int64_t)n > jpip_target_meta_len(t, bin) - off)
        return iip_fail(e, IIP_E_RANGE, 0, "JPIP: beyond metadata bin %" APR_INT64_T_FMT, bin);
    if (bin)
        return t->b.s->read(t->b.s, buf, n, t->bin[bin - 1]->at + t->bin[bin - 1]->head + off, e);
    while (lo < hi) { /* the piece that off lies in */
        int mid = (lo + hi) / 2;

        if (t->piece[mid].at + t->piece[mid].len <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; n; lo++) {
        const jpip_piece *pc = &t->piece[lo];
        int64_t skip = off - pc->at;
        size_t part = (size_t)(pc->len - skip) < n ? (size_t)(pc->len - skip) : n;
        iip_status rv;

        if (pc->from >= 0) {
            rv = t->b.s->read(t->b.s, to, part, pc->from + skip, e);
        } else if ((rv = placeholder(t, pc, box, e)) == IIP_OK) {
            memcpy(to, box + skip, part);
        }
        if (rv != IIP_OK)
            return rv;
        to += part;
        off += (int64_t)part;
        n -= part;
    }
    return IIP_OK;
}

/* ---- looking into boxes ---- */

typedef struct {
    const jpip_target *t;
    int boxes;
    /* 1: enough seen */
    int (*see)(void *ctx, const char *type, int64_t at, int64_t len, int depth);
    void *ctx;
} search;

static int is_super(const char *type)
{
    static const char supers[] = "asocjp2hjpchjplhcgrpres uinfdrepftbl";

    for (const char *s = supers; *s; s += 4)
        if (!memcmp(s, type, 4))
            return 1;
    return 0;
}

/* The boxes in at..end of the file. What is damaged inside is no reason to refuse: nothing of it is found. */
static iip_status look(search *k, int64_t at, int64_t end, int depth, int *done, iip_error *e)
{
    iip_status rv;

    while (end - at >= 8 && !*done) {
        unsigned char h[16];
        int64_t len, head = 8;

        if (++k->boxes > MOST_BOXES)
            return iip_fail(e, IIP_E_FORMAT, 0, "JPIP: too many boxes");
        if ((rv = k->t->b.s->read(k->t->b.s, h, 8, at, e)) != IIP_OK)
            return rv;
        len = iip_jp2_be32(h);
        if (len == 1) {
            if (end - at < 16)
                return IIP_OK;
            if ((rv = k->t->b.s->read(k->t->b.s, h + 8, 8, at + 8, e)) != IIP_OK)
                return rv;
            if (h[8] & 0x80)
                return IIP_OK;
            len = (int64_t)((uint64_t)iip_jp2_be32(h + 8) << 32 | iip_jp2_be32(h + 12));
            head = 16;
        } else if (len == 0) {
            len = end - at;
        }
        if (len < head || len > end - at)
            return IIP_OK;
        *done = k->see(k->ctx, (const char *)h + 4, at + head, len - head, depth);
        if (!*done && depth < MOST_DEPTH && is_super((const char *)h + 4) &&
            (rv = look(k, at + head, at + len, depth + 1, done, e)) != IIP_OK)
            return rv;
        at += len;
    }
    return IIP_OK;
}

typedef struct {
    const jpip_wanted_box *box;
    int n;
    int64_t bin;
} wish;

static int is_wanted(void *ctx, const char *type, int64_t at, int64_t len, int depth)
{
    const wish *w = ctx;

    for (int i = 0; i < w->n; i++)
        if ((!w->box[i].bin || w->box[i].bin == w->bin) && depth <= w->box[i].depth &&
            (!*w->box[i].type || !memcmp(w->box[i].type, type, 4)))
            return 1;
    return 0;
}

iip_status jpip_target_meta_find(const jpip_target *t, const jpip_wanted_box *box, int n, unsigned char *wanted,
                                 iip_error *e)
{
    wish w = {box, n, 0};
    search k = {t, 0, is_wanted, &w};

    memset(wanted, 0, (size_t)t->bins);
    wanted[0] = 1;
    for (w.bin = 1; w.bin < t->bins; w.bin++) {
        const jpip_box *b = t->bin[w.bin - 1];
        int done = is_wanted(&w, b->type, b->at + b->head, b->len, 0);
        iip_status rv;

        if (!done && is_super(b->type) &&
            (rv = look(&k, b->at + b->head, b->at + b->head + b->len, 1, &done, e)) != IIP_OK)
            return rv;
        wanted[w.bin] = (unsigned char)done;
    }
    return IIP_OK;
}

/* ---- compositing layers ---- */

typedef struct {
    int64_t at, len;
} registration;

static int is_creg(void *ctx, const char *type, int64_t at, int64_t len, int depth)
{
    registration *g = ctx;

    if (memcmp(type, "creg", 4))
        return 0;
    *g = (registration){at, len};
    return 1;
}

static iip_status push(apr_array_header_t *out, int64_t stream, int most, iip_error *e)
{
    if (out->nelts >= most)
        return iip_refuse(e, IIP_E_LIMIT, "context");
    APR_ARRAY_PUSH(out, int64_t) = stream;
    return IIP_OK;
}

/* creg: XS(2) YS(2), then CDN(2) XR YR XO YO for each code-stream. */
static iip_status streams_of(const jpip_target *t, const jpip_box *layer, int64_t number, int most,
                             apr_array_header_t *out, iip_error *e)
{
    registration g = {0, 0};
    search k = {t, 0, is_creg, &g};
    int done = 0;
    iip_status rv = IIP_OK;

    if (layer)
        rv = look(&k, layer->at + layer->head, layer->at + layer->head + layer->len, 1, &done, e);
    if (rv != IIP_OK)
        return rv;
    if (!done)
        return number < t->b.streams ? push(out, number, most, e) : IIP_OK;
    for (int64_t at = 4; at + 6 <= g.len && rv == IIP_OK; at += 6) {
        unsigned char cdn[2];

        if ((rv = t->b.s->read(t->b.s, cdn, 2, g.at + at, e)) == IIP_OK && (int)iip_jp2_be16(cdn) < t->b.streams)
            rv = push(out, iip_jp2_be16(cdn), most, e);
    }
    return rv;
}

iip_status jpip_target_layers(const jpip_target *t, const jpip_ranges *layers, int most, apr_array_header_t *out,
                              iip_error *e)
{
    int64_t count = 0, number = 0;
    iip_status rv = IIP_OK;

    for (int i = 0; i < t->b.boxes; i++)
        if (is_type(&t->b.box[i], "jplh")) {
            if (jpip_ranges_have(layers, count) && (rv = streams_of(t, &t->b.box[i], count, most, out, e)) != IIP_OK)
                return rv;
            count++;
        }
    /* Layers without a header of their own: one for each code-stream left */
    for (number = count; number < t->b.streams && rv == IIP_OK; number++)
        if (jpip_ranges_have(layers, number))
            rv = push(out, number, most, e);
    return rv;
}

/* ---- links ---- */

/* Without "." and inner "..". */
static const char *straight(const char *path, apr_pool_t *p)
{
    char *out = apr_palloc(p, strlen(path) + 2), *to = out;
    int up = 0, depth = 0;

    while (*path) {
        size_t n = strcspn(path, "/");

        if (n == 2 && !memcmp(path, "..", 2) && depth) {
            for (to--; to > out && to[-1] != '/'; to--)
                ;
            depth--;
        } else if (n && !(n == 1 && *path == '.')) {
            if (n == 2 && !memcmp(path, "..", 2))
                up = 1;
            else
                depth++;
            memcpy(to, path, n);
            to += n;
            *to++ = '/';
        }
        path += n;
        path += *path == '/';
    }
    if (to > out)
        to--;
    *to = '\0';
    return up && strncmp(out, "..", 2) ? NULL : out;
}

const char *jpip_link_path(const char *url, int *absolute, apr_pool_t *p)
{
    const char *path = url, *colon;

    if (!strncmp(url, "file://", 7)) {
        path = url + 7;
        if (!strncmp(path, "localhost/", 10))
            path += 9;
        /* JPX of kdu_merge: file://./a.jp2, file://a.jp2 */
    } else if ((colon = strchr(url, ':')) && (size_t)(colon - url) < strcspn(url, "/")) {
        return NULL;
    }
    path = iip_path_decode(path, strlen(path), p);
    if (!path || !*path)
        return NULL;
    *absolute = *path == '/';
    path = straight(path, p);
    return *absolute && path ? apr_pstrcat(p, "/", path, NULL) : path;
}

const char *jpip_link_beside(const char *name, const char *path, apr_pool_t *p)
{
    const char *slash = strrchr(name, '/'), *all;

    all = slash ? apr_pstrcat(p, apr_pstrmemdup(p, name, (apr_size_t)(slash - name)), "/", path, NULL) : path;
    all = straight(all, p);
    return all && iip_path_good(all) ? all : NULL;
}
