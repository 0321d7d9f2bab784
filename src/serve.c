/* SPDX-License-Identifier: Apache-2.0
 * The image path in one file: look up what is known of the picture, find the answer in the cache or make it once.
 *
 *   info    = header of the picture           cache "info",   filled by a decoder's open + info
 *   output  = encoded answer                  cache "output", filled by memcached (cache/l2.c), by a stored tile, or by
 *                                             cells > pipeline > encoder
 *   cells   = decoded tiles                   cache "cell",   filled inside the pipeline (cache/cells.c)
 *   aids    = colours, histogram, watermark   caches of their own, filled before the pipeline (aids.c)
 *
 * Keys are the source's identity and the request's line, so whatever changes the bytes changes the key.
 * Longer than other files, since the path of an answer is to be read in one place. */
#include "image_job.h"
#include "codec/jp2.h"
#include "quarantine.h"
#include <math.h>
#include <sched.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLOUR_BUDGET (16 << 20) /* bytes of tables: some eight of inks, a hundred of others */
#define COUNT_BUDGET  (1 << 20)  /* of histograms: some four hundred */
#define MARK_BUDGET   (34 << 20) /* of watermarks: an eighth is the largest */
#define MOST_XMP      (1 << 20)
#define CHAIN_BUDGET  (2 << 20) /* of TIFF directories: thirty-two files of the most that are read, else thousands */
#define INDEX_BUDGET  ((size_t)64 << 20) /* bytes of packet indexes in memory; of mapped ones eight times as many */
#define STRIP         64                 /* rows that an encoder is given at most */
#define HEADER_BYTES  (64 << 10) /* of profile and texts that count as one more picture in the cache of headers */

iip_server_t *iip_server_create(const iip_server_settings *set, apr_pool_t *p)
{
    iip_server_t *sv = apr_pcalloc(p, sizeof *sv);

    sv->cell_budget = (size_t)set->cache_size.b;
    sv->info = iip_cache_create("info", (size_t)set->metadata_cache.a, p);
    sv->cell = iip_cache_create("cell", (size_t)set->cache_size.b, p);
    sv->output = iip_cache_create("output", (size_t)set->cache_size.a, p);
    sv->colour = iip_cache_create("colour", COLOUR_BUDGET, p);
    sv->mark = iip_cache_create("watermark", MARK_BUDGET, p);
    sv->histogram = iip_cache_create("histogram", COUNT_BUDGET, p);
    if (apr_generate_random_bytes(sv->secret[0], sizeof sv->secret) != APR_SUCCESS)
        return NULL;
    sv->readers = iip_readers_create((int)set->metadata_cache.b, p);
    sv->indexes = jpip_indexes_create(set->state_dir, set->jpip_index_age, INDEX_BUDGET, p);
    sv->chain = iip_cache_create("directories", CHAIN_BUDGET, p);
    iip_jp2_indexes(sv->indexes, -1);
    iip_tiff_indexes(sv->chain);
    sv->idle = iip_ahead_idle;
    sv->threads = set->threads > 0 ? (int)set->threads : (int)sysconf(_SC_NPROCESSORS_ONLN);
    iip_gate_init(&sv->gate, (int)set->max_decodes.a, (int)set->max_decodes.b);
    return sv->info && sv->cell && sv->output && sv->colour && sv->histogram && sv->mark && sv->chain && sv->readers &&
                   sv->indexes
               ? sv
               : NULL;
}

jpip_indexes *iip_server_indexes(iip_server_t *sv)
{
    return sv->indexes;
}

iip_gate *iip_server_gate(iip_server_t *sv)
{
    return &sv->gate;
}

iip_status iip_server_share(iip_server_t *sv, const iip_server_settings *set, const unsigned char *secret, iip_error *e)
{
    if (!set->memcached || !*set->memcached)
        return IIP_OK;
    sv->l2 = iip_l2_create(set->memcached_client ? iip_l2_libmemcached : &iip_l2_apr, set->memcached,
                           set->memcached_ttl, set->memcached_deadline, secret);
    return sv->l2 ? IIP_OK : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for the lane to memcached");
}

void iip_server_permits(iip_server_t *sv, iip_permits *permits)
{
    sv->gate.permits = permits;
}

void iip_server_destroy(iip_server_t *sv)
{
    if (sv->l2)
        iip_l2_destroy(sv->l2);
    iip_cache_clear(sv->output);
    iip_cache_clear(sv->cell);
    iip_cache_clear(sv->info);
    iip_cache_clear(sv->colour);
    iip_cache_clear(sv->histogram);
    iip_cache_clear(sv->mark);
    iip_readers_clear(sv->readers);
    iip_jp2_indexes(NULL, -1);
    iip_tiff_indexes(NULL);
    iip_cache_clear(sv->chain);
    jpip_indexes_clear(sv->indexes);
    iip_gate_destroy(&sv->gate);
}

void iip_server_read_stats(iip_server_t *sv, iip_server_stats *out)
{
    int decoding, waiting;

    jpip_indexes_stats indexes;

    iip_cache_read_stats(sv->info, &out->info);
    iip_cache_read_stats(sv->cell, &out->cell);
    iip_cache_read_stats(sv->output, &out->output);
    jpip_indexes_read_stats(sv->indexes, &indexes);
    out->index = indexes.memory;
    out->built = indexes.built;
    out->loaded = indexes.loaded;
    out->saved = indexes.saved;
    out->failed = indexes.failed;
    iip_gate_read(&sv->gate, &decoding, &waiting);
    out->decoding = (uint64_t)decoding;
    out->waiting = (uint64_t)waiting;
    out->shared = (iip_l2_stats){0};
    if (sv->l2)
        iip_l2_read_stats(sv->l2, &out->shared);
}

/* --- the header --- */

typedef struct {
    iip_server_t *sv;
    iip_source_t *src;
    int page;
    const iip_limits *lim;
} info_job;

typedef struct {
    apr_pool_t *pool;
    iip_info info;
} info_value;

static void info_free(void *v)
{
    apr_pool_destroy(((info_value *)v)->pool);
}

/* What the profile is to the picture. Pictures of one collection have the same one: it is known by its hash. */
static void look_at_colours(const iip_server_t *sv, iip_info *i)
{
    i->icc_kind = iip_icc_look(i);
    for (int k = 0; k < 2 && i->icc_kind == IIP_ICC_OTHER; k++)
        i->icc_id[k] = apr_siphash24(i->icc, i->icc_len, sv->secret[k]);
}

static iip_status fill_info(void *ctx, iip_blob **out, iip_error *e)
{
    info_job *j = ctx;
    iip_lease *lease;
    info_value *v;
    apr_pool_t *pool;
    iip_status rv = iip_readers_take(j->sv->readers, j->src, j->page, j->lim, &lease, e);

    if (rv != IIP_OK)
        return rv;
    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        iip_readers_give(j->sv->readers, lease, 0, 0);
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no pool for a header");
    }
    v = apr_pcalloc(pool, sizeof *v);
    v->pool = pool;
    rv = lease->dec->info(lease->reader, &v->info, pool, e);
    if (rv == IIP_OK && !iip_info_sound(&v->info))
        rv = iip_fail(e, IIP_E_FORMAT, 0, "%s: its header breaks a structural limit", lease->dec->name);
    if (rv == IIP_OK && !iip_source_same(lease->src))
        rv = iip_fail(e, IIP_E_CHANGED, 0, "replaced while its header was read");
    iip_readers_give(j->sv->readers, lease, rv == IIP_OK, v->info.hold);
    if (rv != IIP_OK) {
        info_free(v);
        return rv;
    }
    iip_info_upright(&v->info);
    iip_xmp_upright((void *)v->info.xmp, v->info.xmp_len); /* the decoder's copy, in its pool */
    look_at_colours(j->sv, &v->info);
    *out = iip_blob_make(v, sizeof *v, info_free);
    if (!*out)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a header");
    (*out)->cost = 1 + (v->info.icc_len + v->info.xmp_len + v->info.exif_len) / HEADER_BYTES;
    return IIP_OK;
}

iip_status iip_serve_info(iip_server_t *sv, iip_source_t *s, int page, const iip_limits *lim, const iip_info **info,
                          iip_blob **hold, iip_error *e)
{
    struct {
        iip_ident id;
        int64_t page;
    } key = {s->id, page};
    info_job j = {sv, s, page, lim};
    apr_time_t until = lim->deadline ? apr_time_now() + lim->deadline : 0;
    iip_status rv = iip_quarantine_check(s, e);

    if (rv == IIP_OK)
        rv = iip_cache_get(sv->info, &key, sizeof key, until, fill_info, &j, hold, e);

    if (rv == IIP_OK)
        *info = &((info_value *)(*hold)->data)->info;
    return rv;
}

iip_status iip_serve_page(iip_server_t *sv, iip_source_t *s, const iip_request *rq, const iip_limits *lim,
                          const iip_info **info, iip_blob **hold, apr_pool_t *p, iip_error *e)
{
    iip_status rv = iip_serve_info(sv, s, rq->page, lim, info, hold, e);
    iip_info *part;

    if (rv == IIP_OK && rq->part.b) {
        part = apr_pmemdup(p, *info, sizeof *part);
        iip_info_part(part, rq->part.a, rq->part.b);
        *info = part;
    }
    return rv;
}

/* --- keys --- */

#define KEY_LENGTH(len) (sizeof(iip_ident) + (len))

static void *output_key(const iip_source_t *s, const char *line, size_t len, apr_pool_t *p)
{
    char *key = apr_palloc(p, KEY_LENGTH(len));

    memcpy(key, &s->id, sizeof s->id);
    memcpy(key + sizeof s->id, line, len);
    return key;
}

iip_blob *iip_serve_peek(iip_server_t *sv, const iip_source_t *s, const char *line, size_t len, apr_pool_t *p)
{
    return iip_cache_peek(sv->output, output_key(s, line, len, p), KEY_LENGTH(len));
}

/* --- making an answer --- */

/* Collects encoded bytes in one growing block of malloc's, charged to the request. */
typedef struct {
    iip_sink sink;
    iip_budget *b;
    char *data;
    size_t len, room;
} buffer_sink;

static iip_status buffer_reserve(buffer_sink *k, size_t n, iip_error *e)
{
    size_t room = k->room ? k->room : 32768;
    char *data;
    iip_status rv;

    while (room - k->len < n)
        room *= 2;
    if (room == k->room)
        return IIP_OK;
    if ((rv = iip_budget_take(k->b, room - k->room, e)) != IIP_OK)
        return rv;
    if (!(data = realloc(k->data, room))) {
        iip_budget_back(k->b, room - k->room);
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no %zu bytes for an answer", room);
    }
    k->data = data;
    k->room = room;
    return IIP_OK;
}

static iip_status buffer_write(iip_sink *sink, const void *p, size_t n, iip_error *e)
{
    buffer_sink *k = (buffer_sink *)sink;
    iip_status rv = buffer_reserve(k, n, e);

    if (rv == IIP_OK) {
        memcpy(k->data + k->len, p, n);
        k->len += n;
    }
    return rv;
}

/* The finished answer; the block is cut to its length, so that the cache counts what is really held. */
static iip_status buffer_blob(buffer_sink *k, const char *mime, iip_blob **out, iip_error *e)
{
    char *data = realloc(k->data, k->len ? k->len : 1);

    *out = iip_blob_make(data ? data : k->data, k->len, free);
    iip_budget_back(k->b, k->room);
    k->data = NULL;
    if (!*out)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for an answer");
    (*out)->mime = mime;
    return IIP_OK;
}

static void buffer_drop(buffer_sink *k)
{
    free(k->data);
    iip_budget_back(k->b, k->room);
}

/* Text about the picture goes with the whole of it, not with each tile. */
static iip_status options_of_texts(const iip_job *j, iip_enc_opts *o, iip_error *e)
{
    const iip_request *rq = j->rq;
    const iip_info *i = j->info;

    if (rq->src.w != iip_info_w(i) || rq->src.h != iip_info_h(i))
        return IIP_OK;
    if (i->xmp_len <= MOST_XMP && !rq->textless) {
        o->xmp = i->xmp;
        o->xmp_len = i->xmp_len;
    }
    o->copyright = rq->set->copyright;
    return iip_exif_answer(i->exif, rq->textless ? 0 : i->exif_len, o->res_x, o->res_y, o->copyright, &o->exif,
                           &o->exif_len, j->pool, e);
}

static iip_status encoder_options(const iip_job *j, iip_enc_opts *o, iip_error *e)
{
    const iip_request *rq = j->rq;
    const iip_info *i = j->info;
    const int lies = rq->rotate == 90 || rq->rotate == 270;

    memset(o, 0, sizeof *o);
    o->quality = rq->quality;
    o->progressive = rq->progressive;
    o->compression = rq->set->tiff_compression;
    *(lies ? &o->res_y : &o->res_x) = i->res_x * (double)rq->out_w / (double)rq->src.w;
    *(lies ? &o->res_x : &o->res_y) = i->res_y * (double)rq->out_h / (double)rq->src.h;
    if (rq->op_count > 0) {
        const int last = rq->op[rq->op_count - 1].kind;

        o->bilevel = last == IIP_OP_BITONAL || last == IIP_OP_BINARY;
    } else if (i->bilevel && rq->out_w == rq->src.w && rq->out_h == rq->src.h && rq->rotate == 0 && !i->alpha)
        o->bilevel = 1;
    if (rq->watermark || (rq->rotate != 0 && rq->rotate != 90 && rq->rotate != 180 && rq->rotate != 270))
        o->bilevel = 0;
    if (iip_request_icc(rq, i) == IIP_ICC_SEND) {
        o->icc = i->icc;
        o->icc_len = i->icc_len;
    }
    return options_of_texts(j, o, e);
}

void iip_job_cells(iip_cells *c, const iip_job *j, int level, double part)
{
    const iip_level *l = &j->info->level[level];
    double bytes = part * (double)l->w * (double)l->h * j->info->bands * (double)iip_sample_size(j->info->sample);

    memset(c, 0, sizeof *c);
    /* A large export would only sweep the cache of everybody else's tiles. */
    c->cache = bytes <= (double)j->sv->cell_budget / 4 ? j->sv->cell : NULL;
    c->readers = j->sv->readers;
    c->src = j->src;
    c->info = j->info;
    c->lim = j->lim;
    c->budget = j->b;
    c->pool = j->pool;
    c->page = j->rq->page;
    c->layers = j->rq->layers;
}

/* All rows in one raster, for formats whose first bytes depend on the last row. */
static iip_status collect(const iip_job *j, iip_stage_t *top, iip_raster *strip, iip_error *e)
{
    iip_raster all = top->shape;
    size_t row = (size_t)all.w * (size_t)all.bands * iip_sample_size(all.sample);
    iip_status rv;

    all.stride = row;
    if (!(all.px = iip_budget_alloc(j->b, row * (size_t)all.h, j->pool, e)))
        return e->status;
    all.h = 0;
    while (strip->h > 0) {
        for (int64_t y = 0; y < strip->h; y++)
            memcpy(all.px + (size_t)(all.h + y) * row, strip->px + (size_t)y * strip->stride, row);
        all.h += strip->h;
        if ((rv = iip_budget_check(j->b, e)) != IIP_OK || (rv = top->next(top, 64, strip, e)) != IIP_OK)
            return rv;
    }
    *strip = all;
    return IIP_OK;
}

/* An encoder that is begun when the first strip is made: no byte reaches the sink before. */
typedef struct {
    const iip_job *j;
    const iip_encoder *enc;
    iip_sink *k;
    iip_writer_t *w; /* NULL at first */
    iip_raster shape;
    int planes;
    apr_time_t at; /* when the encoder was last done */
} output;

static iip_status output_begin(output *o, iip_error *e)
{
    iip_enc_opts opts;
    iip_status rv = encoder_options(o->j, &opts, e);

    opts.planes = o->planes;
    return rv == IIP_OK ? o->enc->begin(&o->w, &o->shape, &opts, o->k, o->j->pool, e) : rv;
}

/* The next rows of top: plane k, or all bands. */
static iip_status output_rows(output *o, iip_stage_t *top, int k, int64_t rows, iip_error *e)
{
    iip_times *spent = &o->j->b->spent;

    while (rows > 0) {
        iip_raster strip;
        apr_time_t t0;
        iip_status rv = top->next(top, rows < STRIP ? rows : STRIP, &strip, e);

        if (rv == IIP_OK && strip.h == 0)
            rv = iip_fail(e, IIP_E_CORRUPT, 0, "rows are missing");
        if (rv == IIP_OK && o->enc->whole)
            rv = collect(o->j, top, &strip, e);
        if (rv != IIP_OK || (!o->w && (rv = output_begin(o, e)) != IIP_OK))
            return rv;
        t0 = apr_time_now();
        spent->process += t0 - o->at;
        rv = o->planes ? o->enc->plane(o->w, k, &strip, e) : o->enc->rows(o->w, &strip, e);
        o->at = apr_time_now();
        spent->encode += o->at - t0;
        if (rv != IIP_OK)
            return rv;
        rows -= strip.h;
    }
    return IIP_OK;
}

/* cells > pipeline > encoder > sink. */
static iip_status make(const iip_job *j, int planes, iip_fetch_fn *fetch, void *cells, const iip_aids *aids,
                       const iip_encoder *enc, iip_sink *k, iip_error *e)
{
    iip_budget *b = j->b;
    iip_stage_t *top[IIP_PLANES];
    output o = {.j = j, .enc = enc, .k = k, .planes = planes, .at = apr_time_now()};
    const apr_interval_time_t inside = b->spent.decode + b->spent.read;
    int64_t band = STRIP;
    apr_time_t t0;
    iip_status rv;

    rv = planes ? iip_planes_build(top, &band, j->rq, j->info, fetch, cells, b, j->pool, e)
                : iip_pipeline_build(top, j->rq, j->info, enc, aids, fetch, cells, b, j->pool, e);
    if (rv != IIP_OK)
        return rv;
    o.shape = top[0]->shape;
    if (o.planes)
        o.shape.bands = 3;
    if (enc->whole)
        band = o.shape.h;
    for (int64_t y = 0; y < o.shape.h; y += band) {
        const int64_t n = o.shape.h - y < band ? o.shape.h - y : band;

        for (int i = 0; i < (o.planes ? IIP_PLANES : 1) && rv == IIP_OK; i++)
            rv = output_rows(&o, top[i], i, iip_plane_side(n, i), e);
        if (j->large)
            sched_yield(); /* small work first */
        /* More than half is done: worth finishing for those who ask next (spec/security.md section 8). */
        if (rv == IIP_OK && (y + n) * 2 > o.shape.h)
            b->gone = NULL;
        if (rv == IIP_OK)
            rv = iip_budget_check(b, e);
        if (rv != IIP_OK)
            return rv;
    }
    t0 = apr_time_now();
    rv = enc->end(o.w, e);
    b->spent.encode += apr_time_now() - t0;
    b->spent.process -= b->spent.decode + b->spent.read - inside; /* cells were made inside the pipeline */
    return rv;
}

/* A stored tile as it lies in the file, where the request is exactly that. IIP_E_FEATURE: it is not. */
static iip_status pass_through(const iip_job *j, const iip_encoder *enc, buffer_sink *k, iip_error *e)
{
    const iip_request *rq = j->rq;
    int64_t tx, ty;
    iip_format stored;
    iip_span span[3];
    iip_enc_opts opts;
    iip_lease *lease;
    apr_interval_time_t reading = iip_source_time();
    size_t len = 0;
    int n;
    iip_status rv;

    if (!rq->set->passthrough || rq->watermark || j->info->orientation > 1 ||
        iip_request_icc(rq, j->info) == IIP_ICC_CONVERT || !iip_request_tile(rq, j->info, &tx, &ty))
        return IIP_E_FEATURE;
    if ((rv = iip_readers_take(j->sv->readers, j->src, rq->page, j->lim, &lease, e)) != IIP_OK)
        return rv;
    rv = lease->dec->raw ? lease->dec->raw(lease->reader, rq->level, tx, ty, &stored, span, &n, e) : IIP_E_FEATURE;
    if (rv == IIP_OK && (stored != rq->format || !enc->splice))
        rv = IIP_E_FEATURE;
    if (rv == IIP_OK)
        rv = encoder_options(j, &opts, e);
    if (rv == IIP_OK) {
        for (int i = 0; i < n; i++)
            len += span[i].len;
        rv = buffer_reserve(k, len + enc->splice(&opts, NULL, 0), e);
    }
    for (int i = 0; i < n && rv == IIP_OK; i++) {
        char *to = k->data + k->len;

        if (span[i].mem)
            memcpy(to, span[i].mem, span[i].len);
        else
            rv = lease->src->read(lease->src, to, span[i].len, span[i].off, e);
        k->len += span[i].len;
    }
    if (rv == IIP_OK && (k->len = enc->splice(&opts, (unsigned char *)k->data, k->len)) == 0)
        rv = IIP_E_FEATURE;
    if (rv == IIP_OK && !iip_source_same(lease->src))
        rv = iip_fail(e, IIP_E_CHANGED, 0, "replaced while a tile was read");
    iip_readers_give(j->sv->readers, lease, rv == IIP_OK || rv == IIP_E_FEATURE, j->info->hold);
    j->b->spent.read += iip_source_time() - reading;
    return rv;
}

/* Help for large work, as far as memory is left. */
static iip_ahead_t *look_ahead(const iip_job *j, iip_cells *cells)
{
    const int64_t needs = j->large ? iip_request_memory(j->rq, j->info) : 0;
    iip_rect cover;

    if (!j->large || needs >= (int64_t)(j->b->limit < INT64_MAX ? j->b->limit : INT64_MAX))
        return NULL;
    cover = cells->planes ? iip_planes_cover(j->rq, j->info) : iip_request_cover(j->rq, j->info);
    return iip_ahead_begin(cells, j->rq->level, cover, j->sv->threads - 1, j->b->limit - (size_t)needs, j->sv->idle);
}

/* The cold work, inside a place of the gate. Its pool ends with it: what it held is free before the last byte is sent.
 */
static iip_status work(iip_job *j, const iip_encoder *enc, iip_sink *k, iip_error *e)
{
    apr_pool_t *outer = j->pool;
    const iip_request *asked = j->rq, *rq = asked;
    iip_request there = *rq;
    iip_cells cells;
    iip_ahead_t *ahead = NULL;
    iip_job_aids aids;
    int same;
    iip_status rv;

    if (apr_pool_create(&j->pool, outer) != APR_SUCCESS) {
        j->pool = outer;
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no pool for an answer");
    }
    if (rq->within.w) {
        if ((rv = iip_job_attend(j, &there.src, e)) != IIP_OK) {
            apr_pool_destroy(j->pool);
            j->pool = outer;
            return rv;
        }
        j->rq = rq = &there;
    }
    iip_job_cells(&cells, j, rq->level,
                  (double)rq->src.w / (double)iip_info_w(j->info) * (double)rq->src.h / (double)iip_info_h(j->info));
    if ((rv = iip_job_aids_take(j, &aids, e)) == IIP_OK) {
        cells.planes = iip_request_planes(j->rq, j->info);
        ahead = look_ahead(j, &cells);
        rv = make(j, cells.planes, ahead ? iip_ahead_fetch : iip_cells_fetch, ahead ? (void *)ahead : &cells,
                  &aids.aids, enc, k, e);
    }
    iip_job_aids_drop(&aids);
    same = iip_ahead_end(ahead);
    if (rv == IIP_OK && (!same || (cells.lease && !iip_source_same(cells.lease->src))))
        rv = iip_fail(e, IIP_E_CHANGED, 0, "replaced while it was decoded");
    iip_cells_done(&cells, rv == IIP_OK || rv == IIP_E_ABORTED || rv == IIP_E_TIMEOUT);
    apr_pool_destroy(j->pool);
    j->pool = outer;
    j->rq = asked;
    return rv;
}

static iip_status fill_here(iip_job *j, iip_blob **out, iip_error *e)
{
    const iip_encoder *enc = iip_encoder_find(j->rq->format);
    buffer_sink k = {{buffer_write}, j->b, NULL, 0, 0};
    iip_passage way;
    iip_status rv = pass_through(j, enc, &k, e);

    j->b->came = IIP_CAME_RAW;
    if (rv == IIP_E_FEATURE) {
        const iip_work how = iip_request_work(j->rq, j->info);

        *e = (iip_error){0}; /* why not does not matter: it is decoded */
        k.len = 0;
        j->b->came = IIP_CAME_MISS;
        j->large = how != IIP_WORK_SMALL;
        if ((rv = iip_passage_enter(&way, &j->sv->gate, j->b, how, e)) == IIP_OK) {
            rv = work(j, enc, &k.sink, e);
            iip_passage_leave(&way);
        }
    }
    if (rv == IIP_OK)
        return buffer_blob(&k, enc->mime, out, e);
    buffer_drop(&k);
    return rv;
}

/* What the second level has is as good as the cache's own: its key holds the state of the file that was just looked at.
 */
static iip_status fill_output(void *ctx, iip_blob **out, iip_error *e)
{
    iip_job *j = ctx;
    const int64_t left = j->b->until ? j->b->until - apr_time_now() : INT64_MAX;
    const void *key;
    size_t klen;
    iip_status rv;

    if (!j->sv->l2)
        return fill_here(j, out, e);
    key = iip_serve_shared_key(j->src, j->line, j->len, &klen, j->pool);
    if ((*out = iip_l2_get(j->sv->l2, key, klen, left)) != NULL) {
        (*out)->mime = iip_encoder_find(j->rq->format)->mime;
        j->b->came = IIP_CAME_SHARED;
        return IIP_OK;
    }
    rv = fill_here(j, out, e);
    if (rv == IIP_OK)
        iip_l2_put(j->sv->l2, key, klen, *out);
    return rv;
}

iip_status iip_serve_image(iip_server_t *sv, const iip_request *rq, const char *line, size_t len, const iip_info *info,
                           iip_source_t *s, const iip_limits *lim, iip_budget *b, apr_pool_t *p, iip_blob **out,
                           iip_error *e)
{
    iip_job j = {sv, rq, info, s, lim, b, p, line, len, 0};
    const void *key = output_key(s, line, len, p);

    b->came = IIP_CAME_HIT;
    if ((*out = iip_cache_peek(sv->output, key, KEY_LENGTH(len))) != NULL)
        return IIP_OK;
    b->came = IIP_CAME_WAIT; /* unless it is filled here */
    return iip_cache_get(sv->output, key, KEY_LENGTH(len), b->until, fill_output, &j, out, e);
}

/* --- answers that leave while they are made --- */

/* A slow reader must starve nobody: the place is given up while bytes are passed down, and that time is the network's.
 */
typedef struct {
    iip_sink sink, *to;
    iip_passage way;
    iip_budget *b;
} polite_sink;

static iip_status polite_write(iip_sink *sink, const void *p, size_t n, iip_error *e)
{
    polite_sink *k = (polite_sink *)sink;
    apr_time_t t0 = apr_time_now();
    iip_status rv;

    iip_passage_pause(&k->way);
    rv = k->to->write(k->to, p, n, e);
    t0 = apr_time_now() - t0;
    if (k->b->until)
        k->b->until += t0;
    k->b->spent.send += t0;
    k->b->spent.encode -= t0; /* it is called from there */
    return rv == IIP_OK ? iip_passage_resume(&k->way, k->b, e) : rv;
}

iip_status iip_serve_stream(iip_server_t *sv, const iip_request *rq, const iip_info *info, iip_source_t *s,
                            const iip_limits *lim, iip_budget *b, apr_pool_t *p, iip_sink *k, iip_error *e)
{
    const iip_work how = iip_request_work(rq, info);
    iip_job j = {sv, rq, info, s, lim, b, p, NULL, 0, how != IIP_WORK_SMALL};
    polite_sink polite = {.sink = {polite_write}, .to = k, .b = b};
    iip_status rv = iip_passage_enter(&polite.way, &sv->gate, b, how, e);

    if (rv != IIP_OK)
        return rv;
    b->came = IIP_CAME_MISS;
    rv = work(&j, iip_encoder_find(rq->format), &polite.sink, e);
    iip_passage_leave(&polite.way);
    return rv;
}
