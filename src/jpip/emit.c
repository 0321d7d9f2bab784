/* SPDX-License-Identifier: Apache-2.0
 * Sends an answer under its byte budget (spec section 4.4): metadata asked for, main headers, metadata due, tile
 * headers, packets. A message's body is read before its header goes out, and what went out is in the model at the end.
 */
#include "jpip/answer.h"
#include <stdlib.h>
#include <string.h>

#define PIECE         65536     /* longest message */
#define LEAST         24        /* no message begins with fewer bytes left */
#define PRECINCTS_MAX (1 << 20) /* of one answer; the client asks again for the rest */
#define COUNT_MAX     (1 << 20) /* precincts looked at to tell whether the whole picture is there */
#define CHUNK         16384     /* edits stored at once */

typedef struct out out;

/* n bytes of a bin from off on. */
typedef iip_status read_fn(out *o, const void *what, uint64_t off, void *buf, size_t n, iip_error *e);

struct out {
    jpip_answer *a;
    iip_sink *k;
    unsigned char *buf;
    jpip_before before;
    uint64_t left;
    int stop;    /* why nothing more is sent; 0 = go on */
    int partly;  /* quality left something out */
    int started; /* a body has been sent */
};

/* A bin of which something may be sent. */
typedef struct {
    int cls; /* as sent */
    int64_t stream;
    uint64_t id;
    uint64_t end; /* bytes that may be sent */
    int complete; /* with them the bin is */
    read_fn *read;
    const void *what;
    int (*whole)(const void *what, uint64_t bytes); /* Aux of odd classes */
} bin;

/* One message of from.. up to to, cut to what is left. *sent: bytes of the bin the client has then. */
static iip_status message(out *o, const bin *b, uint64_t from, uint64_t to, uint64_t *sent, iip_error *e)
{
    unsigned char head[JPIP_HEADER_MAX];
    jpip_message m = {b->cls, 0, b->stream, b->id, from, to - from, 0};
    size_t n = 0;
    iip_status rv;

    *sent = from;
    if (o->left < LEAST) {
        o->stop = JPIP_BYTE_LIMIT;
        return IIP_OK;
    }
    if (m.length > PIECE)
        m.length = PIECE;
    for (int twice = 0; twice < 2; twice++) {
        jpip_before before = o->before;

        m.last = b->complete && from + m.length == b->end;
        m.aux = b->whole ? (uint64_t)b->whole(b->what, from + m.length) : 0;
        n = jpip_header_write(head, &m, &before);
        if (n + m.length <= o->left)
            break;
        /* A shorter message has no longer header */
        m.length = o->left - n;
        o->stop = JPIP_BYTE_LIMIT;
    }
    if (!m.length && to > from) {
        o->stop = JPIP_BYTE_LIMIT;
        return IIP_OK;
    }
    if (m.length && (rv = b->read(o, b->what, from, o->buf, (size_t)m.length, e)) != IIP_OK)
        return rv;
    n = jpip_header_write(head, &m, &o->before);
    if ((rv = o->k->write(o->k, head, n, e)) != IIP_OK ||
        (m.length && (rv = o->k->write(o->k, o->buf, (size_t)m.length, e)) != IIP_OK))
        return rv;
    o->left -= n + m.length;
    o->started = 1;
    *sent = m.last ? JPIP_WHOLE : from + m.length;
    if (!o->stop && o->a->session && jpip_session_cancelled(o->a->session))
        o->stop = JPIP_WINDOW_CHANGE;
    if (!o->stop && o->a->b && o->a->b->until && apr_time_now() > o->a->b->until)
        o->stop = JPIP_RESPONSE_LIMIT;
    return IIP_OK;
}

/* All of a bin that is not held; *held becomes what is. */
static iip_status send_bin(out *o, const bin *b, uint64_t *held, iip_error *e)
{
    iip_status rv = IIP_OK;

    while (rv == IIP_OK && !o->stop && *held != JPIP_WHOLE && (*held < b->end || (b->complete && *held == b->end)))
        rv = message(o, b, *held, b->end, held, e);
    return rv;
}

/* What need allows of a bin. */
static uint64_t allowed(const out *o, int64_t stream, int cls, uint64_t id)
{
    return o->a->need ? jpip_model_held(o->a->need, stream, cls, id) : JPIP_WHOLE;
}

/* A bin with one state in the model, of an even class. */
static iip_status send_kept(out *o, bin *b, iip_error *e)
{
    const uint64_t before = jpip_model_held(o->a->model, b->stream, b->cls, b->id);
    uint64_t held = before, most = allowed(o, b->stream, b->cls, b->id);
    iip_status rv;

    if (!most)
        return IIP_OK;
    if (most < b->end) {
        b->end = most;
        b->complete = 0;
    }
    if ((rv = send_bin(o, b, &held, e)) != IIP_OK || held == before)
        return rv;
    {
        jpip_edit one = {
            .stream = b->stream, .cls = b->cls, .first = b->id, .last = b->id, .lo = held, .hi = JPIP_WHOLE};

        rv = jpip_model_set(o->a->model, &one, 1, e);
    }
    return rv;
}

/* ---- metadata ---- */

static iip_status read_meta(out *o, const void *what, uint64_t off, void *buf, size_t n, iip_error *e)
{
    return jpip_target_meta_read(&o->a->t, *(const int64_t *)what, (int64_t)off, buf, n, e);
}

static iip_status send_meta(out *o, int64_t id, iip_error *e)
{
    bin b = {.cls = JPIP_METADATA,
             .id = (uint64_t)id,
             .end = (uint64_t)jpip_target_meta_len(&o->a->t, id),
             .complete = 1,
             .read = read_meta,
             .what = &id};

    return send_kept(o, &b, e);
}

static iip_status send_meta_asked(out *o, iip_error *e)
{
    const jpip_answer *a = o->a;
    unsigned char *wanted;
    iip_status rv = send_meta(o, 0, e);

    if (rv != IIP_OK || !a->q->metas || a->t.bins == 1)
        return rv;
    if (!(wanted = iip_codec_alloc((size_t)a->t.bins, a->p, e)))
        return e->status;
    rv = jpip_target_meta_find(&a->t, a->q->meta, a->q->metas, wanted, e);
    for (int k = 1; k < a->t.bins && rv == IIP_OK && !o->stop; k++)
        if (wanted[k])
            rv = send_meta(o, k, e);
    return rv;
}

/* A client that asks for none in particular expects all of it in the first answer of its channel. */
static iip_status send_meta_due(out *o, iip_error *e)
{
    jpip_session *s = o->a->session;
    iip_status rv = IIP_OK;

    if (!s || !s->fresh)
        return IIP_OK;
    for (int k = 1; k < o->a->t.bins && rv == IIP_OK && !o->stop && !o->a->q->metas; k++)
        rv = send_meta(o, k, e);
    if (rv == IIP_OK && jpip_model_complete(o->a->model, 0, JPIP_METADATA, 0, (uint64_t)o->a->t.bins - 1))
        s->fresh = 0;
    return rv;
}

/* ---- headers ---- */

typedef struct {
    const unsigned char *p;
} memory;

static iip_status read_memory(out *o, const void *what, uint64_t off, void *buf, size_t n, iip_error *e)
{
    memcpy(buf, ((const memory *)what)->p + off, n);
    return IIP_OK;
}

/* The main header as it is. */
static iip_status read_head(out *o, const void *what, uint64_t off, void *buf, size_t n, iip_error *e)
{
    return iip_jp2_bytes(&((const jpip_picture *)what)->f, buf, n, (int64_t)off, e);
}

static iip_status send_main(out *o, const jpip_picture *pic, iip_error *e)
{
    size_t n = (size_t)pic->ix->main_len;
    memory m = {NULL};
    bin b = {.cls = JPIP_MAIN_HEADER, .stream = pic->number, .complete = 1, .read = read_head, .what = pic};

    if (o->a->type.kind == JPIP_TYPE_JPP) {
        m.p = jpip_index_main(pic->ix, &n);
        b.read = read_memory;
        b.what = &m;
    }
    b.end = n;
    return send_kept(o, &b, e);
}

static iip_status send_tile_header(out *o, const jpip_picture *pic, int64_t tile, iip_error *e)
{
    size_t n;
    int complete;
    memory m = {jpip_index_tile_head(pic->ix, tile, &n, &complete)};
    bin b = {.cls = JPIP_TILE_HEADER,
             .stream = pic->number,
             .id = (uint64_t)tile,
             .end = n,
             .complete = complete,
             .read = read_memory,
             .what = &m};

    return send_kept(o, &b, e);
}

static iip_status send_headers(out *o, iip_error *e)
{
    jpip_answer *a = o->a;
    iip_status rv = IIP_OK;

    for (int i = 0; i < a->pictures && a->headers && rv == IIP_OK && !o->stop; i++)
        if (a->picture[i].ix)
            rv = send_main(o, &a->picture[i], e);
    if (rv == IIP_OK && !o->stop)
        rv = send_meta_due(o, e);
    if (a->type.kind != JPIP_TYPE_JPP)
        return rv;
    for (int i = 0; i < a->pictures; i++)
        for (int32_t k = 0; k < a->picture[i].tiles_n && rv == IIP_OK && !o->stop; k++)
            rv = send_tile_header(o, &a->picture[i], a->picture[i].tiles[k], e);
    return rv;
}

/* ---- tiles whole (JPT) ---- */

typedef struct {
    const jpip_picture *pic;
    int64_t tile;
} whole_tile;

static iip_status read_tile(out *o, const void *what, uint64_t off, void *buf, size_t n, iip_error *e)
{
    const whole_tile *w = what;

    return jpip_index_read_tile(w->pic->ix, &w->pic->f, w->tile, (int64_t)off, buf, n, e);
}

/* Bytes up to the tile-part that completes the window's resolution, where each part is of one resolution. */
static uint64_t tile_end(const jpip_picture *pic, int64_t tile, int *complete)
{
    const jpip_index *ix = pic->ix;
    int32_t first = jpip_index_tile_part(ix, tile);
    int top = 0;
    uint64_t at = 0, end = 0;

    *complete = first >= 0;
    for (int c = 0; c < ix->comps; c++)
        if ((!pic->comps || pic->comps[c]) && jpip_window_res(&pic->w, ix, tile, c) > top)
            top = jpip_window_res(&pic->w, ix, tile, c);
    for (int32_t i = first; i >= 0; i = ix->part[i].next) {
        *complete &= !ix->part[i].cut;
        if (ix->part[i].res == -1)
            top = INT32_MAX;
    }
    for (int32_t i = first; i >= 0; i = ix->part[i].next) {
        at += (uint64_t)ix->part[i].len;
        if (ix->part[i].res <= top)
            end = at;
    }
    *complete &= end == at;
    return end;
}

static iip_status send_tiles(out *o, iip_error *e)
{
    jpip_answer *a = o->a;
    iip_status rv = IIP_OK;

    for (int i = 0; i < a->pictures; i++)
        for (int32_t k = 0; k < a->picture[i].tiles_n && rv == IIP_OK && !o->stop; k++) {
            const jpip_picture *pic = &a->picture[i];
            whole_tile w = {pic, pic->tiles[k]};
            bin b = {.cls = JPIP_TILE, .stream = pic->number, .id = (uint64_t)w.tile, .read = read_tile, .what = &w};

            b.end = tile_end(pic, w.tile, &b.complete);
            rv = send_kept(o, &b, e);
        }
    return rv;
}

/* ---- packets ---- */

typedef struct {
    const jpip_picture *pic;
    uint32_t number;
} precinct;

static iip_status read_precinct(out *o, const void *what, uint64_t off, void *buf, size_t n, iip_error *e)
{
    const precinct *w = what;

    return jpip_index_read(w->pic->ix, &w->pic->f, w->number, (int64_t)off, buf, n, e);
}

static int whole_layers(const void *what, uint64_t bytes)
{
    const precinct *w = what;

    return jpip_index_whole(w->pic->ix, w->number, (int64_t)bytes);
}

static uint64_t id_of(const jpip_index *ix, uint32_t number)
{
    jpip_precinct who;

    jpip_index_precinct(ix, number, &who);
    return jpip_index_id(ix, who.tile, who.comp, who.s);
}

static uint64_t held_now(void *ctx, int32_t picture, const jpip_index *ix, uint64_t id)
{
    const out *o = ctx;
    int64_t stream = o->a->picture[picture].number;

    /* What is not needed counts as held */
    if (!allowed(o, stream, JPIP_PRECINCT, id))
        return JPIP_WHOLE;
    return jpip_model_held(o->a->model, stream, JPIP_PRECINCT, id);
}

/* Layers of a tile that the request wants. */
static int layers_wanted(out *o, const jpip_picture *pic, int64_t tile)
{
    const jpip_query *q = o->a->q;
    int all = jpip_index_tile_layers(pic->ix, tile), n = all;

    if (q->quality >= 0 && (all * q->quality + 99) / 100 < n) {
        n = (all * q->quality + 99) / 100;
        o->partly = 1;
    }
    return q->layers >= 0 && q->layers < n ? (int)q->layers : n;
}

static iip_status find_precincts(out *o, jpip_wanted_list *l, int *most, iip_error *e)
{
    jpip_answer *a = o->a;
    iip_status rv = IIP_OK;

    *most = 0;
    for (int i = 0; i < a->pictures && rv == IIP_OK && !l->full; i++) {
        const jpip_picture *pic = &a->picture[i];
        int layers = 0;

        for (int32_t k = 0; k < pic->tiles_n; k++) {
            int n = layers_wanted(o, pic, pic->tiles[k]);

            layers = n > layers ? n : layers;
        }
        *most = layers > *most ? layers : *most;
        if (layers)
            rv = jpip_window_precincts(&pic->w, pic->ix, i, pic->comps, pic->tiles, pic->tiles_n, held_now, o, l, e);
    }
    for (size_t i = 0; i < l->n; i++)
        l->at[i].layers = (uint16_t)layers_wanted(o, &a->picture[l->at[i].picture], l->at[i].tile);
    jpip_wanted_sort(l);
    return rv;
}

/* Packets of one precinct that follow each other: those of layers up to `layer`. */
static iip_status send_packets(out *o, jpip_wanted *w, int layer, iip_error *e)
{
    const jpip_picture *pic = &o->a->picture[w->picture];
    precinct who = {pic, w->number};
    int all, have = jpip_index_layers(pic->ix, w->number, &all);
    bin b = {.cls = JPIP_PRECINCT + (o->a->type.extended != 0),
             .stream = pic->number,
             .read = read_precinct,
             .what = &who,
             .whole = o->a->type.extended ? whole_layers : NULL};
    uint64_t most;

    if (layer >= have && !(have == all && layer == all))
        layer = have;
    b.end = (uint64_t)jpip_index_bytes(pic->ix, w->number, layer);
    b.complete = layer == all;
    if (w->held != JPIP_WHOLE && (w->held > b.end || (w->held == b.end && !b.complete)))
        return IIP_OK;
    b.id = id_of(pic->ix, w->number);
    most = allowed(o, pic->number, JPIP_PRECINCT, b.id);
    if (most < b.end) {
        b.end = most;
        b.complete = 0;
    }
    /* A packet that does not fit waits for the next answer, if this one had room for anything */
    if (o->a->q->align && o->started && w->held < b.end && o->left < LEAST + (b.end - w->held))
        o->stop = JPIP_BYTE_LIMIT;
    return send_bin(o, &b, &w->held, e);
}

/* Layer by layer; the last precinct that is not done gets all its layers at once. */
static iip_status send_layers(out *o, jpip_wanted_list *l, int most, iip_error *e)
{
    size_t n = l->n;
    jpip_wanted **left = malloc((n ? n : 1) * sizeof *left);
    iip_status rv = IIP_OK;

    if (!left)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for precincts");
    for (size_t i = 0; i < n; i++)
        left[i] = &l->at[i];
    for (int layer = 1; layer <= most && n && rv == IIP_OK && !o->stop; layer++) {
        size_t still = 0;

        for (size_t i = 0; i < n && rv == IIP_OK && !o->stop; i++) {
            jpip_wanted *w = left[i];

            rv = send_packets(o, w, n == 1 ? w->layers : layer, e);
            if (layer < w->layers && n > 1)
                left[still++] = w;
        }
        n = still;
    }
    free(left);
    return rv;
}

static int by_number(const void *pa, const void *pb)
{
    const jpip_wanted *a = pa, *b = pb;

    if (a->picture != b->picture)
        return a->picture < b->picture ? -1 : 1;
    return a->key < b->key ? -1 : a->key > b->key;
}

/* What was sent goes into the model, code-stream by code-stream in order of ids. */
static iip_status keep_precincts(out *o, jpip_wanted_list *l, iip_error *e)
{
    jpip_edit *edit = malloc(CHUNK * sizeof *edit);
    size_t n = 0;
    iip_status rv = IIP_OK;

    if (!edit)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a model");
    for (size_t i = 0; i < l->n; i++)
        l->at[i].key = id_of(o->a->picture[l->at[i].picture].ix, l->at[i].number);
    qsort(l->at, l->n, sizeof *l->at, by_number);
    for (size_t i = 0; i < l->n && rv == IIP_OK; i++) {
        const jpip_wanted *w = &l->at[i];

        if (w->held)
            edit[n++] = (jpip_edit){.stream = o->a->picture[w->picture].number,
                                    .cls = JPIP_PRECINCT,
                                    .first = w->key,
                                    .last = w->key,
                                    .lo = w->held,
                                    .hi = JPIP_WHOLE};
        if (n == CHUNK || i + 1 == l->n || l->at[i + 1].picture != w->picture) {
            rv = jpip_model_set(o->a->model, edit, n, e);
            n = 0;
        }
    }
    free(edit);
    return rv;
}

static iip_status send_precincts(out *o, iip_error *e)
{
    jpip_wanted_list l = {.most = PRECINCTS_MAX, .b = o->a->b};
    int most;
    iip_status rv = find_precincts(o, &l, &most, e);

    if (rv == IIP_OK && l.n) {
        rv = send_layers(o, &l, most, e);
        if (rv == IIP_OK)
            rv = keep_precincts(o, &l, e);
    }
    if (rv == IIP_OK && l.full && !o->stop)
        o->stop = JPIP_RESPONSE_LIMIT;
    if (l.b)
        iip_budget_back(l.b, l.room * sizeof *l.at);
    free(l.at);
    return rv;
}

/* ---- the end ---- */

/* A file that was written to meanwhile: what went out may be of both. */
static iip_status check_same(const jpip_answer *a, iip_error *e)
{
    int same = iip_source_same(a->s);

    for (int i = 0; i < a->pictures && same; i++)
        same = !a->picture[i].ix || a->picture[i].f.s == a->s || iip_source_same(a->picture[i].f.s);
    return same ? IIP_OK : iip_fail(e, IIP_E_CHANGED, 0, "JPIP: the file was changed while it was sent");
}

static int precincts_complete(const jpip_answer *a, const jpip_picture *pic)
{
    const jpip_index *ix = pic->ix;

    if (ix->precincts > COUNT_MAX)
        return 0;
    for (int64_t i = 0; i < ix->precincts; i++) {
        uint64_t id = id_of(ix, (uint32_t)i);

        if (!jpip_model_complete(a->model, pic->number, JPIP_PRECINCT, id, id))
            return 0;
    }
    return 1;
}

/* Every bin of every code-stream. */
static int image_complete(const jpip_answer *a)
{
    if (a->pictures != a->t.b.streams || !jpip_model_complete(a->model, 0, JPIP_METADATA, 0, (uint64_t)a->t.bins - 1))
        return 0;
    for (int i = 0; i < a->pictures; i++) {
        const jpip_picture *pic = &a->picture[i];
        uint64_t tiles = pic->ix ? (uint64_t)(pic->ix->columns * pic->ix->rows) : 0;

        if (!pic->ix || !jpip_model_complete(a->model, pic->number, JPIP_MAIN_HEADER, 0, 0))
            return 0;
        if (a->type.kind == JPIP_TYPE_JPT) {
            if (!jpip_model_complete(a->model, pic->number, JPIP_TILE, 0, tiles - 1))
                return 0;
        } else if (!jpip_model_complete(a->model, pic->number, JPIP_TILE_HEADER, 0, tiles - 1) ||
                   !precincts_complete(a, pic)) {
            return 0;
        }
    }
    return 1;
}

static int reason(const out *o)
{
    const jpip_answer *a = o->a;

    if (o->stop == JPIP_BYTE_LIMIT && (a->q->len < 0 || a->q->len > a->max))
        return JPIP_RESPONSE_LIMIT;
    if (o->stop)
        return o->stop;
    if (a->cut)
        return JPIP_RESPONSE_LIMIT;
    if (image_complete(a))
        return JPIP_IMAGE_DONE;
    return o->partly ? JPIP_QUALITY_LIMIT : JPIP_WINDOW_DONE;
}

iip_status jpip_answer_send(jpip_answer *a, iip_sink *k, iip_error *e)
{
    out o = {.a = a, .k = k, .before = {-1, -1}};
    unsigned char end[JPIP_END_BYTES];
    iip_status rv;

    o.left = (uint64_t)(a->q->len >= 0 && a->q->len < a->max ? a->q->len : a->max);
    if (!o.left)
        o.stop = JPIP_BYTE_LIMIT;
    if (!(o.buf = malloc(PIECE)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory to send from");
    rv = o.stop ? IIP_OK : send_meta_asked(&o, e);
    if (rv == IIP_OK && !o.stop && !a->q->meta_only)
        rv = send_headers(&o, e);
    if (rv == IIP_OK && !o.stop && !a->q->meta_only && a->q->fx > 0)
        rv = a->type.kind == JPIP_TYPE_JPT ? send_tiles(&o, e) : send_precincts(&o, e);
    for (int i = 0; i < a->pictures && a->session; i++)
        jpip_model_touch(a->model, a->picture[i].number, a->session->requests);
    free(o.buf);
    if (rv == IIP_OK)
        rv = check_same(a, e);
    if (rv != IIP_OK)
        return rv;
    jpip_end_write(end, reason(&o));
    return k->write(k, end, sizeof end, e);
}
