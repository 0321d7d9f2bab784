/* SPDX-License-Identifier: Apache-2.0
 * The image path's own readers, stages and writers, put together for a job. */
#include "render.h"
#ifdef IIP_HAVE_JOBS
#include "cache/cells.h"
#include "raster/stage.h"
#include <math.h>
#include <string.h>
#include <apr_strings.h>

/* --- geometry --- */

/* Where what is too much is cut off, in whole pixels of the scaled picture. */
static double cut(double share, int64_t spare)
{
    return floor(share * (double)spare + 0.5);
}

job_code job_frame_of(const job_t *j, double w, double h, job_frame *f, job_error *e)
{
    const int64_t ow = j->width, oh = j->height;
    /* the picture covers the frame when its width becomes ow */
    const int wide = (double)ow * h >= (double)oh * w;
    int64_t sw, sh;

    if (!j->enlarge && j->operation == JOB_RESIZE && (w < (double)ow || h < (double)oh))
        return job_fail(e, JOB_E_ENLARGE, 0, "the source is smaller than the result");
    *f = (job_frame){0, 0, (double)w, (double)h, ow, oh, 0, 0};
    if (j->fit == JOB_STRETCH)
        return JOB_OK;
    /* crop covers the frame, fit and pad stay within it */
    if ((j->fit == JOB_CROP) == wide) {
        sw = ow;
        sh = llround((double)ow * (double)h / (double)w);
    } else {
        sh = oh;
        sw = llround((double)oh * (double)w / (double)h);
    }
    sw = sw > 0 ? sw : 1;
    sh = sh > 0 ? sh : 1;
    if (j->fit == JOB_CROP) {
        const job_gravity *g = &j->gravity;
        const int64_t dx = sw > ow ? sw - ow : 0, dy = sh > oh ? sh - oh : 0;

        f->x = (g->third ? (double)(dx / 2) : cut(g->x, dx)) * (double)w / (double)sw;
        f->y = (g->third ? (double)(dy / 3) : cut(g->y, dy)) * (double)h / (double)sh;
        f->w = (double)ow * (double)w / (double)sw;
        f->h = (double)oh * (double)h / (double)sh;
        f->w = f->w < (double)w - f->x ? f->w : (double)w - f->x;
        f->h = f->h < (double)h - f->y ? f->h : (double)h - f->y;
        return JOB_OK;
    }
    f->out_w = sw < ow ? sw : ow;
    f->out_h = sh < oh ? sh : oh;
    if (j->fit == JOB_PAD) {
        f->left = (int64_t)cut(j->gravity.third ? 0.5 : j->gravity.x, ow - f->out_w);
        f->top = (int64_t)cut(j->gravity.third ? 0.5 : j->gravity.y, oh - f->out_h);
    }
    return JOB_OK;
}

/* --- reading --- */

/* EXIF's eight, each turned by 90 degrees more */
static int turned(int orientation, int degrees)
{
    static const int next[9] = {6, 6, 7, 8, 5, 2, 3, 4, 1};

    orientation = orientation < 1 || orientation > 8 ? 1 : orientation;
    for (; degrees > 0; degrees -= 90)
        orientation = next[orientation];
    return orientation;
}

static job_code read_failed(const iip_error *why, job_error *e)
{
    static const struct {
        iip_status status;
        job_code code;
        int transient;
        const char *text;
    } kinds[] = {
        {IIP_E_MEMORY, JOB_E_TOO_LARGE, 1, "not enough memory"},
        {IIP_E_TIMEOUT, JOB_E_NO_PICTURE, 1, "time is up"},
        {IIP_E_LIMIT, JOB_E_TOO_LARGE, 0, "the picture is larger than allowed"},
        {IIP_E_CHANGED, JOB_E_FETCH, 1, "the source was replaced"},
        {IIP_E_FORMAT, JOB_E_NO_PICTURE, 0, "no picture of a kind that is read here"},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (why->status == kinds[i].status)
            return job_fail(e, kinds[i].code, kinds[i].transient, "%s", kinds[i].text);
    return job_fail(e, JOB_E_NO_PICTURE, 0, "the picture is damaged");
}

typedef struct {
    iip_readers_t *readers;
    iip_info info;
    iip_limits lim;
    iip_budget budget;
    iip_settings set;
} opened;

static apr_status_t close_opened(void *ctx)
{
    iip_readers_clear(((opened *)ctx)->readers);
    return APR_SUCCESS;
}

static iip_status look_inside(opened *o, const job_t *j, iip_source_t *s, apr_pool_t *p, iip_error *e)
{
    iip_lease *lease;
    iip_status rv = iip_readers_take(o->readers, s, -1, &o->lim, &lease, e);

    if (rv != IIP_OK)
        return rv;
    rv = lease->dec->info(lease->reader, &o->info, p, e);
    if (rv == IIP_OK && !iip_info_sound(&o->info))
        rv = iip_fail(e, IIP_E_FORMAT, 0, "%s: its header breaks a structural limit", lease->dec->name);
    iip_readers_give(o->readers, lease, rv == IIP_OK, o->info.hold);
    if (rv != IIP_OK)
        return rv;
    o->info.orientation = turned(j->orient ? o->info.orientation : 1, j->rotate);
    iip_info_upright(&o->info);
    o->info.icc_kind = iip_icc_look(&o->info);
    return IIP_OK;
}

static opened *open_picture(const job_t *j, const job_place *place, iip_source_t *s, size_t memory, apr_pool_t *p,
                            iip_error *e)
{
    opened *o = apr_pcalloc(p, sizeof *o);
    iip_settings raw;

    iip_settings_unset(&raw);
    raw.profile = IIP_PROFILE_CONVERT;
    iip_settings_effective(&o->set, &raw);
    o->lim.max_pixels = place->max_pixels;
    o->lim.foreign = 1;
    o->lim.memory = o->budget.limit = memory;
    o->readers = iip_readers_create(1, p);
    if (!o->readers) {
        iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a reader");
        return NULL;
    }
    apr_pool_pre_cleanup_register(p, o, close_opened);
    return look_inside(o, j, s, p, e) == IIP_OK ? o : NULL;
}

job_code job_look(const job_t *j, const job_place *place, iip_source_t *s, int whole, job_head *head, int *more,
                  apr_pool_t *p, job_error *e)
{
    iip_error why = {0};
    opened *o = open_picture(j, place, s, (size_t)64 << 20, p, &why);

    *more = 0;
    if (!o) {
        *more = !whole && (why.status == IIP_E_CORRUPT || why.status == IIP_E_FORMAT);
        return read_failed(&why, e);
    }
    head->w = iip_info_w(&o->info);
    head->h = iip_info_h(&o->info);
    return head->w <= place->max_pixels / head->h
               ? JOB_OK
               : job_fail(e, JOB_E_TOO_LARGE, 0, "the picture has more pixels than allowed");
}

/* --- the chain --- */

#define STRIP 64 /* rows at once */

/* The smallest stored level with all the pixels that are wanted. */
static int level_for(const iip_info *info, const job_frame *f)
{
    const double across = (double)f->out_w / f->w, down = (double)f->out_h / f->h; /* scale of the whole */
    int level = 0;

    while (level + 1 < info->levels && (double)info->level[level + 1].w >= across * (double)iip_info_w(info) &&
           (double)info->level[level + 1].h >= down * (double)iip_info_h(info))
        level++;
    return level;
}

static apr_status_t free_transform(void *t)
{
    iip_transform_free(t);
    return APR_SUCCESS;
}

static apr_status_t give_cells(void *c)
{
    iip_cells_done(c, 0);
    return APR_SUCCESS;
}

/* The part f of the picture as 8-bit sRGB (or grey) rows of f->out_w x f->out_h, alpha kept. */
static iip_stage_t *chain(opened *o, const job_t *j, const job_frame *f, iip_source_t *s, apr_pool_t *p, iip_error *e)
{
    const iip_info *info = &o->info;
    const int n = level_for(info, f), alpha = info->alpha && info->bands > 1;
    const iip_level *l = &info->level[n];
    const double sx = (double)l->w / (double)iip_info_w(info), sy = (double)l->h / (double)iip_info_h(info);
    iip_window win = {f->x * sx, f->y * sy, f->w * sx, f->h * sy, 0};
    iip_request rq;
    iip_transform *t = NULL;
    iip_cells *cells = apr_pcalloc(p, sizeof *cells);
    iip_rect cover;
    iip_stage_t *top;

    iip_request_init(&rq, &o->set);
    rq.format = j->format;
    if (iip_request_icc(&rq, info) == IIP_ICC_CONVERT) {
        if (!(t = iip_transform_make(info))) {
            iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for tables of colours");
            return NULL;
        }
        apr_pool_cleanup_register(p, t, free_transform, apr_pool_cleanup_null);
    }
    *cells = (iip_cells){.readers = o->readers,
                         .src = s,
                         .info = info,
                         .lim = &o->lim,
                         .budget = &o->budget,
                         .pool = p,
                         .page = -1,
                         .layers = -1};
    apr_pool_pre_cleanup_register(p, cells, give_cells);
    win.exact =
        win.w == (double)f->out_w && win.h == (double)f->out_h && win.x == floor(win.x) && win.y == floor(win.y);
    iip_cover(win.x, win.w, l->w, &cover.x, &cover.w);
    iip_cover(win.y, win.h, l->h, &cover.y, &cover.h);
    cover.w -= cover.x;
    cover.h -= cover.y;
    win.x -= (double)cover.x;
    win.y -= (double)cover.y;
    top = iip_stage_level(&cover, n, info, iip_cells_fetch, cells, &o->budget, p, e);
    if (top)
        top = iip_stage_colour(top, info, t && info->sample != IIP_U8 ? IIP_U16 : IIP_U8, t != NULL, &o->budget, p, e);
    if (top && t)
        top = iip_stage_profile(top, t, IIP_U8, &o->budget, p, e);
    if (top)
        top = iip_stage_scale(top, &win, f->out_w, f->out_h, o->set.interpolation, alpha, &o->budget, p, e);
    return top;
}

/* All rows of a stage. */
static iip_status collect(iip_stage_t *top, iip_raster *out, iip_budget *b, iip_error *e)
{
    iip_raster strip;
    iip_status rv;
    int64_t y = 0;

    while ((rv = iip_budget_check(b, e)) == IIP_OK && (rv = top->next(top, 64, &strip, e)) == IIP_OK && strip.h > 0)
        for (int64_t i = 0; i < strip.h; i++, y++)
            memcpy(out->px + (size_t)y * out->stride, strip.px + (size_t)i * strip.stride,
                   (size_t)strip.w * iip_pixel_size(&strip));
    return rv;
}

static iip_status held(iip_raster *r, int64_t w, int64_t h, int bands, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    *r = (iip_raster){.w = w, .h = h, .bands = bands, .sample = IIP_U8, .stride = (size_t)w * (size_t)bands};
    return (r->px = iip_budget_alloc(b, r->stride * (size_t)h + 64, p, e)) ? IIP_OK : e->status;
}

/* --- where most happens --- */

/* Moves the part along its free axis. */
static iip_status most_happening(opened *o, const job_t *j, job_frame *f, iip_source_t *s, apr_pool_t *p, iip_error *e)
{
    const int64_t w = iip_info_w(&o->info), h = iip_info_h(&o->info), longer = w > h ? w : h;
    const int along_y = (double)h - f->h > (double)w - f->w;
    job_frame all = {0, 0, (double)w, (double)h, 1, 1, 0, 0};
    int64_t part_w, part_h, x, y;
    iip_stage_t *top;
    iip_raster px;
    iip_status rv;

    all.out_w = longer > IIP_BUSY_SIDE ? (w * IIP_BUSY_SIDE + longer - 1) / longer : w;
    all.out_h = longer > IIP_BUSY_SIDE ? (h * IIP_BUSY_SIDE + longer - 1) / longer : h;
    if (!(top = chain(o, j, &all, s, p, e)))
        return e->status;
    if ((rv = held(&px, all.out_w, all.out_h, top->shape.bands, &o->budget, p, e)) != IIP_OK ||
        (rv = collect(top, &px, &o->budget, e)) != IIP_OK)
        return rv;
    part_w = along_y ? px.w : (int64_t)ceil(f->w / (double)w * (double)px.w);
    part_h = along_y ? (int64_t)ceil(f->h / (double)h * (double)px.h) : px.h;
    part_w = part_w < px.w ? part_w : px.w;
    part_h = part_h < px.h ? part_h : px.h;
    iip_busiest(&px, part_w, part_h, &x, &y);
    if (along_y)
        f->y = px.h > part_h ? ((double)h - f->h) * (double)y / (double)(px.h - part_h) : 0;
    else
        f->x = px.w > part_w ? ((double)w - f->w) * (double)x / (double)(px.w - part_w) : 0;
    return IIP_OK;
}

/* --- after scaling --- */

/* Unsharp masking with a blur of 1 2 1 each way; amount 10 doubles what differs from it four times. Colours only. */
static iip_status sharpen(iip_raster *r, double amount, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    const int colours = r->bands - (alpha != 0), k = (int)lround(amount * 0.4 * 256);
    const size_t row = (size_t)r->w * (size_t)r->bands;
    unsigned char *above = iip_budget_alloc(b, 2 * row, p, e), *here;

    if (!above)
        return e->status;
    here = above + row;
    memcpy(above, r->px, row);
    for (int64_t y = 0; y < r->h; y++) {
        unsigned char *line = r->px + (size_t)y * r->stride;
        const unsigned char *below = y + 1 < r->h ? line + r->stride : here;

        memcpy(here, line, row);
        for (int64_t x = 0; x < r->w; x++) {
            const int64_t l = (x > 0 ? x - 1 : x) * r->bands, m = x * r->bands,
                          g = (x + 1 < r->w ? x + 1 : x) * r->bands;

            for (int c = 0; c < colours; c++) {
                const int blur = above[l + c] + 2 * above[m + c] + above[g + c] + 2 * here[l + c] + 4 * here[m + c] +
                                 2 * here[g + c] + below[l + c] + 2 * below[m + c] + below[g + c];
                const int v = here[m + c] + ((16 * here[m + c] - blur) * k + 2048) / 4096;

                line[m + c] = (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
        memcpy(above, here, row);
    }
    return IIP_OK;
}

/* A picture that is held, as a stage */
typedef struct {
    iip_stage_t stage;
    int64_t y;
} whole_stage;

static iip_status whole_next(iip_stage_t *s, int64_t max_rows, iip_raster *out, iip_error *e)
{
    whole_stage *w = (whole_stage *)s;
    const int64_t left = s->shape.h - w->y;

    *out = s->shape;
    out->px += (size_t)w->y * out->stride;
    out->h = left < max_rows ? left : max_rows;
    w->y += out->h;
    return IIP_OK;
}

static job_code write_failed(const iip_error *why, job_error *e)
{
    return job_fail(e, why->status == IIP_E_MEMORY ? JOB_E_TOO_LARGE : JOB_E_STORE, 1, "the result cannot be written");
}

/* The writer's part of the work, by the clock. */
static iip_status give_rows(const iip_encoder *enc, iip_writer_t *w, const iip_raster *rows, apr_interval_time_t *took,
                            iip_error *e)
{
    const apr_time_t t0 = apr_time_now();
    const iip_status rv = rows ? enc->rows(w, rows, e) : enc->end(w, e);

    *took += apr_time_now() - t0;
    return rv;
}

job_code job_write(const job_t *j, const job_place *place, iip_stage_t *top, const iip_enc_opts *opts, int rgb,
                   iip_budget *b, iip_sink *k, apr_interval_time_t *took, apr_pool_t *p, job_error *e)
{
    const iip_encoder *enc = iip_encoder_find(j->format);
    /* A job counts from 1 to 100 in every format: what has another scale keeps the place's */
    const int asked = j->quality >= 0 && enc->q_max == 100 ? j->quality : place->quality[j->format];
    iip_enc_opts o = *opts;
    iip_error why = {0};
    iip_raster rows;
    iip_status rv;
    iip_writer_t *w;

    o.quality = asked < 0 ? enc->q_default : asked > enc->q_max ? enc->q_max : asked < enc->q_min ? enc->q_min : asked;
    if (!(top->shape.bands & 1) && (!enc->alpha || rgb >= 0))
        top = iip_stage_flatten(top, rgb < 0 ? 0xffffff : rgb, b, p, &why);
    if (!top || enc->begin(&w, &top->shape, &o, k, p, &why) != IIP_OK)
        return write_failed(&why, e);
    if (enc->whole) {
        if ((rv = held(&rows, top->shape.w, top->shape.h, top->shape.bands, b, p, &why)) == IIP_OK &&
            (rv = collect(top, &rows, b, &why)) == IIP_OK && give_rows(enc, w, &rows, took, &why) != IIP_OK)
            return write_failed(&why, e);
    } else {
        while ((rv = iip_budget_check(b, &why)) == IIP_OK && (rv = top->next(top, STRIP, &rows, &why)) == IIP_OK &&
               rows.h > 0)
            if (give_rows(enc, w, &rows, took, &why) != IIP_OK)
                return write_failed(&why, e);
    }
    if (rv != IIP_OK)
        return read_failed(&why, e);
    return give_rows(enc, w, NULL, took, &why) == IIP_OK ? JOB_OK : write_failed(&why, e);
}

static iip_status texts(const job_t *j, const iip_info *i, iip_enc_opts *o, apr_pool_t *p, iip_error *e)
{
    const void *exif = i->exif;
    size_t len = i->exif_len, n;
    iip_exif_field kept[2] = {{315, NULL, 0}, {33432, NULL, 0}}; /* Artist, Copyright */
    int count = 0;

    if (j->metadata == JOB_METADATA_NONE)
        return IIP_OK;
    if (j->metadata == JOB_METADATA_COPYRIGHT) {
        for (int k = 0; k < 2; k++) {
            const char *text = iip_exif_text(i->exif, i->exif_len, kept[k].tag, &n);

            if (text && n)
                kept[count++] = (iip_exif_field){kept[k].tag, apr_pstrmemdup(p, text, n), n + 1};
        }
        if (iip_exif_of_texts(kept, count, &exif, &len, p, e) != IIP_OK)
            return e->status;
    } else {
        o->xmp = i->xmp;
        o->xmp_len = i->xmp_len;
        iip_xmp_upright((void *)(uintptr_t)o->xmp, o->xmp_len);
    }
    return iip_exif_answer(exif, len, 0, 0, NULL, &o->exif, &o->exif_len, p, e);
}

static job_code resize(const job_t *j, const job_place *place, iip_source_t *s, size_t memory, iip_sink *k,
                       apr_interval_time_t *took, apr_pool_t *p, job_error *e)
{
    iip_error why = {0};
    opened *o = open_picture(j, place, s, memory, p, &why);
    iip_enc_opts opts = {.quality = -1};
    whole_stage whole;
    iip_stage_t *top;
    iip_raster out;
    iip_rect frame;
    job_frame f;

    if (!o)
        return read_failed(&why, e);
    if (iip_info_w(&o->info) > place->max_pixels / iip_info_h(&o->info))
        return job_fail(e, JOB_E_TOO_LARGE, 0, "the picture has more pixels than allowed");
    if (job_frame_of(j, iip_info_w(&o->info), iip_info_h(&o->info), &f, e) != JOB_OK)
        return e->code;
    if (j->fit == JOB_CROP && j->gravity.entropy && most_happening(o, j, &f, s, p, &why) != IIP_OK)
        return read_failed(&why, e);
    frame = (iip_rect){f.left, f.top, j->width, j->height};
    if (!(top = chain(o, j, &f, s, p, &why)) || texts(j, &o->info, &opts, p, &why) != IIP_OK)
        return read_failed(&why, e);
    /* Transparent where the picture has that */
    if (j->fit == JOB_PAD &&
        !(top = iip_stage_frame(top, &frame, top->shape.bands & 1 && j->background < 0 ? 0xffffff : j->background,
                                !(top->shape.bands & 1), &o->budget, p, &why)))
        return read_failed(&why, e);
    if (!(j->sharpen > 0))
        return job_write(j, place, top, &opts, j->background, &o->budget, k, took, p, e);
    if (held(&out, top->shape.w, top->shape.h, top->shape.bands, &o->budget, p, &why) != IIP_OK ||
        collect(top, &out, &o->budget, &why) != IIP_OK ||
        sharpen(&out, j->sharpen, !(out.bands & 1), &o->budget, p, &why) != IIP_OK)
        return read_failed(&why, e);
    whole = (whole_stage){{.shape = out, .next = whole_next}, 0};
    return job_write(j, place, &whole.stage, &opts, j->background, &o->budget, k, took, p, e);
}

static job_code rasterize(const job_t *j, const job_place *place, iip_source_t *s, size_t memory, iip_sink *k,
                          apr_interval_time_t *took, apr_pool_t *p, job_error *e)
{
    const iip_enc_opts opts = {.quality = -1};
    const int pad = j->fit == JOB_PAD;
    iip_budget b = {.limit = memory};
    iip_error why = {0};
    whole_stage whole;
    iip_raster out;
    job_frame f;
    double w, h;
    void *data;

    if (!(data = iip_codec_fetch(s, 0, (size_t)s->id.size, p, &why)))
        return read_failed(&why, e);
    if (job_svg_look(data, (size_t)s->id.size, place->max_source, &w, &h, p, e) != JOB_OK)
        return e->code;
    if (!(w > 0) || !(h > 0)) {
        w = j->width;
        h = j->height;
    }
    if (job_frame_of(j, w, h, &f, e) != JOB_OK)
        return e->code;
    if (held(&out, pad ? j->width : f.out_w, pad ? j->height : f.out_h, 4, &b, p, &why) != IIP_OK)
        return read_failed(&why, e);
    memset(out.px, 0, out.stride * (size_t)out.h);
    if (job_svg_draw(data, (size_t)s->id.size, place->max_source, &f, &out, p, e) != JOB_OK)
        return e->code;
    whole = (whole_stage){{.shape = out, .next = whole_next}, 0};
    return job_write(j, place, &whole.stage, &opts, j->background, &b, k, took, p, e);
}

job_code job_render(const job_t *j, const job_place *place, iip_source_t *s, size_t memory, iip_sink *k,
                    apr_interval_time_t *encode, apr_pool_t *p, job_error *e)
{
    *encode = 0;
    return j->operation == JOB_RASTERIZE ? rasterize(j, place, s, memory, k, encode, p, e)
                                         : resize(j, place, s, memory, k, encode, p, e);
}
#endif
