/* SPDX-License-Identifier: Apache-2.0
 * What an answer is about: see answer.h. */
#include "jpip/answer.h"
#include "serve.h"
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include <apr_tables.h>

#define STEPS_MAX (1 << 22) /* precincts looked at for a model text */
#define EDITS_FEW 65536     /* a subtractive item of more precincts takes away all of them */

iip_status jpip_answer_target(jpip_answer *a, iip_error *e)
{
    const jpip_query *q = a->q;
    int64_t to = q->sub_a < 0 ? a->s->id.size : q->sub_b + 1;

    if (q->sub_a >= 0 && to > a->s->id.size)
        return iip_refuse(e, IIP_E_RANGE, "subtarget");
    return jpip_target_open(&a->t, a->s, q->sub_a < 0 ? 0 : q->sub_a, to, a->p, e);
}

/* ---- which code-streams ---- */

/* esajpip's a:b on a JPX means a-b. */
static jpip_ranges meant(const jpip_answer *a)
{
    const jpip_ranges *asked = &a->q->stream;
    jpip_range *r = apr_pmemdup(a->p, asked->at, (size_t)asked->n * sizeof *r);

    for (int i = 0; i < asked->n; i++)
        if (r[i].colon) {
            if (a->t.b.streams > 1 && r[i].step >= r[i].a)
                r[i].b = r[i].step;
            r[i].step = 1;
        }
    return (jpip_ranges){r, asked->n};
}

static int ascending(const void *pa, const void *pb)
{
    int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;

    return a < b ? -1 : a > b;
}

/* Numbers as a list of runs. */
static const char *numbers_text(const int64_t *v, int n, apr_pool_t *p)
{
    apr_array_header_t *parts = apr_array_make(p, 8, sizeof(const char *));

    for (int i = 0, j; i < n; i = j + 1) {
        for (j = i; j + 1 < n && v[j + 1] == v[j] + 1; j++)
            ;
        APR_ARRAY_PUSH(parts, const char *) =
            i == j ? apr_psprintf(p, "%" APR_INT64_T_FMT, v[i])
                   : apr_psprintf(p, "%" APR_INT64_T_FMT "-%" APR_INT64_T_FMT, v[i], v[j]);
        if (parts->nelts == JPIP_LIST_MAX)
            break;
    }
    return apr_array_pstrcat(p, parts, ',');
}

static iip_status choose_streams(jpip_answer *a, apr_array_header_t *out, iip_error *e)
{
    const jpip_query *q = a->q;
    const int64_t have = a->t.b.streams;
    int64_t *v;
    int n = 0, beyond = 0;
    iip_status rv;

    if (q->context.n) {
        if ((rv = jpip_target_layers(&a->t, &q->context, JPIP_STREAMS_MAX, out, e)) != IIP_OK)
            return rv;
        if (out->nelts)
            a->say.context = apr_psprintf(a->p, "jpxl<%s>=%s", jpip_ranges_text(&q->context, a->p),
                                          numbers_text((const int64_t *)out->elts, out->nelts, a->p));
    }
    if (q->stream.n) {
        jpip_ranges r = meant(a);

        for (int i = 0; i < r.n; i++) {
            if (r.at[i].b >= have && r.at[i].b < JPIP_NUMBER_MAX)
                beyond = 1;
            for (int64_t s = r.at[i].a; s <= r.at[i].b && s < have; s += r.at[i].step) {
                if (out->nelts == JPIP_STREAMS_MAX)
                    return iip_refuse(e, IIP_E_LIMIT, "stream");
                APR_ARRAY_PUSH(out, int64_t) = s;
            }
        }
    } else if (!q->context.n && have) {
        APR_ARRAY_PUSH(out, int64_t) = 0;
    }
    v = (int64_t *)(void *)out->elts;
    qsort(v, (size_t)out->nelts, sizeof *v, ascending);
    for (int i = 0; i < out->nelts; i++)
        if (!n || v[n - 1] != v[i])
            v[n++] = v[i];
    out->nelts = n;
    if (beyond && n)
        a->say.stream = numbers_text(v, n, a->p);
    return IIP_OK;
}

static apr_status_t pictures_free(void *data)
{
    jpip_answer *a = data;

    for (int i = 0; i < a->pictures; i++) {
        free(a->picture[i].tiles);
        if (a->picture[i].hold)
            iip_blob_release(a->picture[i].hold);
    }
    return APR_SUCCESS;
}

/* What spoils one frame of a movie; anything else is the server's trouble and spoils the answer. */
static int is_broken(iip_status s)
{
    return s == IIP_E_NOT_FOUND || s == IIP_E_FORBIDDEN || s == IIP_E_FORMAT || s == IIP_E_CORRUPT;
}

static iip_status open_picture(jpip_answer *a, jpip_picture *pic, iip_error *e)
{
    const jpip_stream *st = &a->t.b.stream[pic->number];
    iip_source_t *s = a->s;
    iip_status rv = IIP_OK;

    if (st->broken || st->link > a->t.b.urls)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "JPIP: code-stream %" APR_INT64_T_FMT " is a broken link", pic->number);
    if (st->link)
        rv = a->open_link(a->link_ctx, a->t.b.url[st->link - 1], &s, a->p, e);
    if (rv == IIP_OK)
        rv = jpip_boxes_stream(&a->t.b, (int)pic->number, s, &pic->f, a->p, e);
    if (rv == IIP_OK)
        rv = jpip_indexes_get(a->indexes, &pic->f, a->b ? a->b->until : 0, &pic->ix, &pic->hold, e);
    if (rv == IIP_OK && a->b && (rv = iip_budget_take(a->b, pic->ix->bytes, e)) != IIP_OK) {
        iip_blob_release(pic->hold);
        pic->hold = NULL;
        pic->ix = NULL;
    }
    return rv;
}

static iip_status open_pictures(jpip_answer *a, iip_error *e)
{
    apr_array_header_t *numbers = apr_array_make(a->p, 4, sizeof(int64_t));
    iip_status rv = choose_streams(a, numbers, e);

    if (rv != IIP_OK || !numbers->nelts)
        return rv;
    a->picture = iip_codec_alloc((size_t)numbers->nelts * sizeof *a->picture, a->p, e);
    if (!a->picture)
        return e->status;
    memset(a->picture, 0, (size_t)numbers->nelts * sizeof *a->picture);
    apr_pool_cleanup_register(a->p, a, pictures_free, apr_pool_cleanup_null);
    while (a->pictures < numbers->nelts) {
        jpip_picture *pic = &a->picture[a->pictures];
        iip_error own = {0}; /* of this code-stream: no trouble of the answer's unless it is returned */

        pic->number = APR_ARRAY_IDX(numbers, a->pictures, int64_t);
        rv = open_picture(a, pic, &own);
        if ((rv == IIP_E_MEMORY || rv == IIP_E_TIMEOUT) && a->pictures) {
            a->cut = 1;
            return IIP_OK;
        }
        if (rv != IIP_OK && (!is_broken(rv) || a->t.b.streams == 1)) {
            *e = own;
            return rv;
        }
        a->pictures++;
    }
    return IIP_OK;
}

/* ---- the client's model ---- */

typedef struct {
    jpip_answer *a;
    int64_t steps;
} expansion;

static const jpip_index *index_of(const jpip_answer *a, int64_t stream)
{
    int lo = 0, hi = a->pictures;

    while (lo < hi) {
        int mid = (lo + hi) / 2;

        if (a->picture[mid].number < stream)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < a->pictures && a->picture[lo].number == stream ? a->picture[lo].ix : NULL;
}

/* Bytes of a precinct that an item speaks of. */
static uint64_t bytes_of(const jpip_index *ix, uint32_t number, const jpip_item *it)
{
    int all, have;

    if (it->layers < 0)
        return it->bytes >= 0 ? (uint64_t)it->bytes : it->minus ? 0 : JPIP_WHOLE;
    have = jpip_index_layers(ix, number, &all);
    if (it->layers >= all && have == all)
        return JPIP_WHOLE;
    return (uint64_t)jpip_index_bytes(ix, number, it->layers < have ? (int)it->layers : have);
}

static iip_status add_precinct(const jpip_index *ix, int64_t stream, uint64_t id, uint32_t number, const jpip_item *it,
                               jpip_edits *l, iip_error *e)
{
    uint64_t bytes = bytes_of(ix, number, it);
    jpip_edit one = {.stream = stream, .cls = JPIP_PRECINCT, .first = id, .last = id};

    one.lo = it->minus ? 0 : bytes;
    one.hi = it->minus ? bytes : JPIP_WHOLE;
    return jpip_edits_add(l, &one, e);
}

/* Not worth the time to tell which: an item that adds is left out, one that takes away takes all. */
static iip_status give_up(int64_t stream, const jpip_item *it, jpip_edits *l, iip_error *e)
{
    jpip_edit all = {
        .stream = stream, .cls = it->cls < 0 ? JPIP_PRECINCT : it->cls, .last = (uint64_t)JPIP_ID_MAX, .hi = 0};

    if (it->minus)
        return jpip_edits_add(l, &all, e);
    l->skipped++;
    return IIP_OK;
}

static int64_t last_of(const jpip_span *s, int64_t count)
{
    return s->b < count - 1 ? s->b : count - 1;
}

static iip_status expand_implicit(expansion *x, const jpip_index *ix, int64_t stream, const jpip_item *it,
                                  jpip_edits *l, iip_error *e)
{
    const jpip_span *tile = &it->part[JPIP_ITEM_T], *comp = &it->part[JPIP_ITEM_C], *res = &it->part[JPIP_ITEM_R],
                    *prec = &it->part[JPIP_ITEM_P];

    for (int64_t t = tile->a; t <= last_of(tile, ix->columns * ix->rows); t++)
        for (int64_t c = comp->a; c <= last_of(comp, ix->comps); c++) {
            int levels = jpip_index_coding(ix, t, (int)c)->levels;

            for (int64_t r = res->a; r <= last_of(res, levels + 1); r++) {
                jpip_res g;

                if (++x->steps > STEPS_MAX)
                    return give_up(stream, it, l, e);
                jpip_index_res(ix, t, (int)c, (int)r, &g);
                for (int64_t p = prec->a; p <= last_of(prec, g.wide * g.high); p++) {
                    uint32_t s = g.s + (uint32_t)p;
                    iip_status rv;

                    if (++x->steps > STEPS_MAX || (it->minus && l->n > EDITS_FEW))
                        return give_up(stream, it, l, e);
                    if ((rv = add_precinct(ix, stream, jpip_index_id(ix, t, (int)c, s), g.number + (uint32_t)p, it, l,
                                           e)) != IIP_OK)
                        return rv;
                }
            }
        }
    return IIP_OK;
}

static iip_status expand(void *ctx, int64_t stream, const jpip_item *it, jpip_edits *l, iip_error *e)
{
    expansion *x = ctx;
    const jpip_index *ix = index_of(x->a, stream);
    int all = it->implicit && it->layers < 0;

    for (int i = 0; all && i < 4; i++)
        all = !it->part[i].a && it->part[i].b >= JPIP_ID_MAX;
    if (all) { /* every precinct: no geometry needed */
        uint64_t bytes = bytes_of(NULL, 0, it);
        jpip_edit one = {.stream = stream,
                         .cls = JPIP_PRECINCT,
                         .last = (uint64_t)JPIP_ID_MAX,
                         .lo = it->minus ? 0 : bytes,
                         .hi = it->minus ? bytes : JPIP_WHOLE};

        return jpip_edits_add(l, &one, e);
    }
    if (!ix || (it->cls != JPIP_PRECINCT && it->cls >= 0))
        return give_up(stream, it, l, e);
    if (it->implicit)
        return expand_implicit(x, ix, stream, it, l, e);
    if (it->cls < 0) { /* `*:L2` */
        jpip_item whole = *it;

        whole.cls = JPIP_PRECINCT;
        for (int i = 0; i < 4; i++)
            whole.part[i] = (jpip_span){0, JPIP_ID_MAX};
        return expand_implicit(x, ix, stream, &whole, l, e);
    }
    for (int64_t id = it->id.a; id <= it->id.b; id++) {
        int64_t number = jpip_index_number(ix, (uint64_t)id);
        iip_status rv;

        if (++x->steps > STEPS_MAX || (it->minus && l->n > EDITS_FEW))
            return give_up(stream, it, l, e);
        if (number >= 0 && (rv = add_precinct(ix, stream, (uint64_t)id, (uint32_t)number, it, l, e)) != IIP_OK)
            return rv;
    }
    return IIP_OK;
}

/* Bytes of a tile's bin in front of its part n; *whole: there is no part n. */
static uint64_t part_bytes(const jpip_index *ix, int64_t tile, int64_t n, int *whole)
{
    uint64_t at = 0;
    int32_t i = jpip_index_tile_part(ix, tile);

    for (; i >= 0 && n > 0; n--, i = ix->part[i].next)
        at += (uint64_t)ix->part[i].len;
    *whole = i < 0;
    return at;
}

/* tpmodel and tpneed: tile-parts are bytes of the tile's bin, as long as they begin it or follow the last ones named.
 */
static iip_status tile_part_edits(expansion *x, const char *text, int64_t stream, jpip_edits *l, iip_error *e)
{
    const jpip_index *ix = index_of(x->a, stream);
    jpip_tile_part tp;
    int64_t tile = -1, next = 0;

    while (ix && jpip_tile_part_next(&text, &tp) == 1)
        for (int64_t t = tp.tile.a; t <= last_of(&tp.tile, ix->columns * ix->rows); t++) {
            jpip_edit one = {.stream = stream, .cls = JPIP_TILE, .first = (uint64_t)t, .last = (uint64_t)t};
            uint64_t bytes;
            int whole;
            iip_status rv;

            if (++x->steps > STEPS_MAX)
                return iip_refuse(e, IIP_E_LIMIT, "tpmodel");
            if (!tp.minus && tp.part.a && (tile != t || tp.part.a != next))
                continue;
            bytes = part_bytes(ix, t, tp.minus ? tp.part.a : tp.part.b + 1, &whole);
            one.lo = tp.minus ? 0 : whole ? JPIP_WHOLE : bytes;
            one.hi = tp.minus ? bytes : JPIP_WHOLE;
            tile = t;
            next = tp.minus ? 0 : tp.part.b + 1;
            if ((rv = jpip_edits_add(l, &one, e)) != IIP_OK)
                return rv;
        }
    return IIP_OK;
}

static iip_status apply(jpip_answer *a, jpip_model *m, const char *items, const char *parts, iip_error *e)
{
    expansion x = {a, 0};
    jpip_geometry g = {a->t.b.streams, a->pictures ? a->picture[0].number : 0, &x, expand};
    jpip_edits *l = jpip_edits_make(a->p);
    iip_status rv = items ? jpip_items_edits(items, &g, l, e) : IIP_OK;

    if (rv == IIP_OK && parts)
        rv = tile_part_edits(&x, parts, g.first, l, e);
    return rv == IIP_OK ? jpip_model_apply(m, l, e) : rv;
}

static iip_status make_models(jpip_answer *a, iip_error *e)
{
    const jpip_query *q = a->q;
    /* A model of another target says nothing of ours */
    int ours = !q->tid || !strcmp(q->tid, "0") || !strcmp(q->tid, a->t.tid);
    iip_status rv = IIP_OK;

    a->model = a->session ? a->session->model : jpip_model_make(a->p);
    if (!a->model)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a model");
    if (q->mset.n) {
        jpip_model_keep(a->model, &q->mset);
        a->say.mset = jpip_ranges_text(&q->mset, a->p);
    }
    if ((q->model || q->tpmodel) && ours)
        rv = apply(a, a->model, q->model, q->tpmodel, e);
    if (rv != IIP_OK || (!q->need && !q->tpneed))
        return rv;
    a->need = jpip_model_make(a->p);
    if (!a->need)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a model");
    return apply(a, a->need, q->need, q->tpneed, e);
}

/* The client must not mix bins of a linked file with those of its successor. */
static void know_sources(jpip_answer *a)
{
    for (int i = 0; i < a->pictures; i++) {
        const jpip_picture *pic = &a->picture[i];
        char tag[33];
        uint64_t identity = 0;

        if (!pic->ix || pic->f.s == a->s)
            continue;
        iip_serve_etag(pic->f.s, "jpip", 4, tag);
        for (int k = 0; k < 16; k++)
            identity = identity << 4 | (uint64_t)(tag[k] <= '9' ? tag[k] - '0' : tag[k] - 'a' + 10);
        if (!jpip_model_source(a->session->model, pic->number, identity))
            a->changed = 1;
    }
}

/* ---- the window ---- */

static iip_status choose_comps(jpip_answer *a, jpip_picture *pic, int first, iip_error *e)
{
    const jpip_index *ix = pic->ix;
    unsigned char *on;
    int mct = 0, more = 0;

    if (!a->q->comps.n)
        return IIP_OK;
    if (!(on = iip_codec_alloc((size_t)ix->comps, a->p, e)))
        return e->status;
    for (int c = 0; c < ix->comps; c++)
        on[c] = (unsigned char)jpip_ranges_have(&a->q->comps, c);
    for (int64_t t = 0; t < ix->columns * ix->rows && !mct; t++)
        mct = jpip_index_tile_mct(ix, t);
    /* One of three that are mixed cannot be shown without the others */
    if (mct && ix->comps >= 3 && (on[0] | on[1] | on[2])) {
        more = !(on[0] & on[1] & on[2]);
        on[0] = on[1] = on[2] = 1;
    }
    pic->comps = on;
    if (more && first) {
        int64_t *list = apr_palloc(a->p, (size_t)ix->comps * sizeof *list);
        int n = 0;

        for (int c = 0; c < ix->comps; c++)
            if (on[c])
                list[n++] = c;
        a->say.comps = numbers_text(list, n, a->p);
    }
    return IIP_OK;
}

static const char *pair(apr_pool_t *p, int64_t a, int64_t b)
{
    return apr_psprintf(p, "%" APR_INT64_T_FMT ",%" APR_INT64_T_FMT, a, b);
}

static void say_window(jpip_answer *a, const jpip_window *w)
{
    const jpip_query *q = a->q;
    int64_t sx = w->x1 > w->x0 ? w->x1 - w->x0 : 0, sy = w->y1 > w->y0 ? w->y1 - w->y0 : 0;

    if (w->fx != q->fx || w->fy != q->fy)
        a->say.fsiz = pair(a->p, w->fx, w->fy);
    if (!sx || !sy)
        return;
    if (w->x0 != q->ox || w->y0 != q->oy)
        a->say.roff = pair(a->p, w->x0, w->y0);
    if (q->sx >= 0 && (sx != q->sx || sy != q->sy))
        a->say.rsiz = pair(a->p, sx, sy);
}

static iip_status map_windows(jpip_answer *a, iip_error *e)
{
    const jpip_query *q = a->q;
    int first = 1;
    iip_status rv = IIP_OK;

    for (int i = 0; i < a->pictures && rv == IIP_OK; i++) {
        jpip_picture *pic = &a->picture[i];

        if (!pic->ix)
            continue;
        if ((rv = choose_comps(a, pic, first, e)) != IIP_OK)
            break;
        jpip_window_map(&pic->w, pic->ix, pic->comps, q);
        rv = jpip_window_tiles(&pic->w, pic->ix, &pic->tiles, &pic->tiles_n, e);
        if (first) {
            say_window(a, &pic->w);
            if (q->layers > pic->ix->layers)
                a->say.layers = apr_itoa(a->p, pic->ix->layers);
        }
        first = 0;
    }
    return rv;
}

iip_status jpip_answer_plan(jpip_answer *a, iip_error *e)
{
    const jpip_query *q = a->q;
    iip_status rv = IIP_OK;

    a->headers = !q->meta_only && (q->fx > 0 || q->stream.n || q->context.n);
    if (a->headers || q->model || q->need || q->tpmodel || q->tpneed)
        rv = open_pictures(a, e);
    if (rv == IIP_OK && a->session)
        know_sources(a);
    if (rv == IIP_OK)
        rv = make_models(a, e);
    if (rv == IIP_OK && a->headers && q->fx > 0)
        rv = map_windows(a, e);
    if (q->len > a->max)
        a->say.len = apr_psprintf(a->p, "%" APR_INT64_T_FMT, a->max);
    if (q->quality >= 0)
        a->say.quality = apr_itoa(a->p, q->quality);
    return rv;
}
