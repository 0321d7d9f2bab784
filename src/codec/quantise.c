/* SPDX-License-Identifier: Apache-2.0
 * Chooses the colours of a palette by cutting boxes of the colour cube where that leaves the least squared error, and
 * finds the index of each pixel by error diffusion (Floyd and Steinberg's weights, rows in turn from either side). */
#include "codec/quantise.h"
#include <stdlib.h>
#include <string.h>

#define SIDE  256 /* cells at most along an axis: all greys, or 32 steps of each colour's range */
#define CELLS (32 * 32 * 32)
#define SLOTS 512 /* for counting up to 256 colours */

/* Pixels of nearly one colour. */
typedef struct {
    unsigned char at[3]; /* in the cube */
    uint32_t n;
    uint64_t sum[3];
} cell;

/* Cells [from, to), the mean and the squared error of their pixels, as if each were at its cell's mean. */
typedef struct {
    int from, to;
    double error;
} box;

/* What is needed of a set of pixels to know its mean and squared error. */
typedef struct {
    double n, sum[3], squares;
} moments;

typedef struct {
    const iip_raster *in;
    iip_palette *pal;
    unsigned char *index;
    int room;                /* colours there may be besides the transparent one */
    int lo[3], hi[3];        /* range of each colour */
    int shift[3], stride[3]; /* from there a value's place among the cells */
    moments *slice;          /* SIDE of them */
    cell *cells;             /* those that hold pixels; while counting, all of them */
    unsigned char *near;     /* a cell's colour of the palette, while it is not known: itself 0, known 0 */
    unsigned char *known;
    int *diffused; /* two rows of errors, sixteen times as large, with a pixel more at either end */
} job;

static const unsigned char *pixel_at(const job *j, int64_t x, int64_t y)
{
    return j->in->px + (size_t)y * j->in->stride + (size_t)(x * j->in->bands);
}

static int clear_at(const job *j, const unsigned char *px)
{
    return j->in->bands % 2 == 0 && px[j->in->bands - 1] < 128;
}

static const unsigned char *colour_of(const job *j, const unsigned char *px, unsigned char rgb[3])
{
    if (j->in->bands > 2)
        return px;
    rgb[0] = rgb[1] = rgb[2] = px[0];
    return rgb;
}

/* --- few colours -------------------------------------------------------------------------------------------------- */

/* 1 if the palette holds every colour: then all indices are set. */
static int take_exactly(job *j)
{
    struct {
        uint32_t colour; /* + 1; 0 is an empty slot */
        int index;
    } slot[SLOTS];
    iip_palette *pal = j->pal;
    unsigned char grey[3];

    memset(slot, 0, sizeof slot);
    for (int64_t y = 0; y < j->in->h; y++)
        for (int64_t x = 0; x < j->in->w; x++) {
            const unsigned char *px = pixel_at(j, x, y), *c = colour_of(j, px, grey);
            const uint32_t key = ((uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2]) + 1;
            unsigned s = (key * 2654435761u) >> 23;

            if (clear_at(j, px)) {
                j->index[y * j->in->w + x] = (unsigned char)pal->clear;
                continue;
            }
            while (slot[s].colour && slot[s].colour != key)
                s = (s + 1) % SLOTS;
            if (!slot[s].colour) {
                if (pal->count == j->room)
                    return 0;
                slot[s].colour = key;
                slot[s].index = pal->count;
                memcpy(pal->colour[pal->count++], c, 3);
            }
            j->index[y * j->in->w + x] = (unsigned char)slot[s].index;
        }
    return 1;
}

/* --- choosing colours --------------------------------------------------------------------------------------------- */

/* Lays the cells over what colours there are. Grey has one axis. */
static void span_cells(job *j)
{
    const int grey = j->in->bands < 3;
    unsigned char rgb[3];

    for (int k = 0; k < 3; k++) {
        j->lo[k] = 255;
        j->stride[k] = grey ? k == 0 : k == 0 ? 1024 : k == 1 ? 32 : 1;
    }
    for (int64_t y = 0; y < j->in->h; y++)
        for (int64_t x = 0; x < j->in->w; x++) {
            const unsigned char *px = pixel_at(j, x, y), *c = colour_of(j, px, rgb);

            for (int k = 0; k < 3 && !clear_at(j, px); k++) {
                j->lo[k] = c[k] < j->lo[k] ? c[k] : j->lo[k];
                j->hi[k] = c[k] > j->hi[k] ? c[k] : j->hi[k];
            }
        }
    for (int k = 0; k < 3 && !grey; k++)
        while ((j->hi[k] - j->lo[k]) >> j->shift[k] > 31)
            j->shift[k]++;
}

/* Counts pixels in their cells and moves those that hold any to the front; their number. */
static int count_cells(job *j)
{
    unsigned char rgb[3];
    int n = 0;

    for (int64_t y = 0; y < j->in->h; y++)
        for (int64_t x = 0; x < j->in->w; x++) {
            const unsigned char *px = pixel_at(j, x, y), *c = colour_of(j, px, rgb);
            unsigned char at[3];
            cell *to = j->cells;

            if (clear_at(j, px))
                continue;
            for (int k = 0; k < 3; k++) {
                at[k] = (unsigned char)((c[k] - j->lo[k]) >> j->shift[k]);
                to += at[k] * j->stride[k];
            }
            memcpy(to->at, at, 3);
            to->n++;
            for (int k = 0; k < 3; k++)
                to->sum[k] += c[k];
        }
    for (int i = 0; i < CELLS; i++)
        if (j->cells[i].n)
            j->cells[n++] = j->cells[i];
    return n;
}

static void add(moments *m, const cell *c)
{
    m->n += c->n;
    for (int i = 0; i < 3; i++) {
        m->sum[i] += (double)c->sum[i];
        m->squares += (double)c->sum[i] * (double)c->sum[i] / c->n;
    }
}

static double error_of(const moments *m)
{
    double e = m->squares;

    for (int i = 0; m->n > 0 && i < 3; i++)
        e -= m->sum[i] * m->sum[i] / m->n;
    return m->n > 0 && e > 0 ? e : 0;
}

static void measure(const job *j, box *b)
{
    moments m = {0};

    for (int i = b->from; i < b->to; i++)
        add(&m, &j->cells[i]);
    b->error = error_of(&m);
}

/* The plane that leaves the least error on its two sides: the cells in front of it come first. 0 if there is none. */
static int cut(job *j, box *b, box *rest)
{
    double best = b->error;
    int axis = -1, plane = 0, to = b->from;

    for (int a = 0; a < 3; a++) {
        moments *slice = j->slice, left = {0}, all = {0};

        memset(slice, 0, SIDE * sizeof *slice);
        for (int i = b->from; i < b->to; i++)
            add(&slice[j->cells[i].at[a]], &j->cells[i]);
        for (int s = 0; s < SIDE; s++) {
            all.n += slice[s].n;
            all.squares += slice[s].squares;
            for (int i = 0; i < 3; i++)
                all.sum[i] += slice[s].sum[i];
        }
        for (int s = 0; s < SIDE - 1; s++) {
            moments right = all;
            double e;

            left.n += slice[s].n;
            left.squares += slice[s].squares;
            right.n -= left.n;
            right.squares -= left.squares;
            for (int i = 0; i < 3; i++) {
                left.sum[i] += slice[s].sum[i];
                right.sum[i] -= left.sum[i];
            }
            if (slice[s].n == 0 || right.n < 1)
                continue;
            e = error_of(&left) + error_of(&right);
            if (e < best) {
                best = e;
                axis = a;
                plane = s;
            }
        }
    }
    if (axis < 0)
        return 0;
    for (int i = b->from; i < b->to; i++)
        if (j->cells[i].at[axis] <= plane) {
            cell c = j->cells[i];

            j->cells[i] = j->cells[to];
            j->cells[to++] = c;
        }
    *rest = (box){to, b->to, 0};
    b->to = to;
    measure(j, b);
    measure(j, rest);
    return 1;
}

static void choose(job *j)
{
    box boxes[256] = {{0, count_cells(j), 0}};
    int n = 1;

    measure(j, boxes);
    while (n < j->room) {
        box *worst = boxes;

        for (int i = 1; i < n; i++)
            if (boxes[i].error > worst->error)
                worst = boxes + i;
        if (worst->error <= 0 || !cut(j, worst, &boxes[n]))
            break;
        n++;
    }
    for (int b = 0; b < n; b++) {
        uint64_t count = 0, sum[3] = {0};

        for (int i = boxes[b].from; i < boxes[b].to; i++) {
            count += j->cells[i].n;
            for (int k = 0; k < 3; k++)
                sum[k] += j->cells[i].sum[k];
        }
        for (int k = 0; k < 3; k++)
            j->pal->colour[b][k] = (unsigned char)((sum[k] + count / 2) / (count ? count : 1));
    }
    j->pal->count = n;
}

/* --- finding them again ------------------------------------------------------------------------------------------- */

/* The colour of the palette next to the middle of a value's cell, found when it is first asked for. */
static int nearest(job *j, const int v[3])
{
    int at = 0, best = INT32_MAX;

    for (int k = 0; k < 3; k++)
        at += ((v[k] - j->lo[k]) >> j->shift[k]) * j->stride[k];
    if (j->known[at])
        return j->near[at];
    for (int i = 0; i < j->pal->count; i++) {
        int far = 0;

        for (int k = 0; k < 3; k++) {
            const int s = j->shift[k],
                      d = j->lo[k] + ((v[k] - j->lo[k]) >> s << s) + (1 << s) / 2 - j->pal->colour[i][k];

            far += d * d;
        }
        if (far < best) {
            best = far;
            j->near[at] = (unsigned char)i;
        }
    }
    j->known[at] = 1;
    return j->near[at];
}

static void diffuse(job *j)
{
    const int64_t w = j->in->w;
    unsigned char grey[3];

    for (int64_t y = 0; y < j->in->h; y++) {
        const int step = y % 2 ? -1 : 1;
        int *here = j->diffused + (y % 2) * 3 * (w + 2), *below = j->diffused + (1 - y % 2) * 3 * (w + 2);

        memset(below, 0, (size_t)(3 * (w + 2)) * sizeof *below);
        for (int64_t i = 0; i < w; i++) {
            const int64_t x = step > 0 ? i : w - 1 - i;
            const unsigned char *px = pixel_at(j, x, y), *c = colour_of(j, px, grey);
            int *e = here + 3 * (x + 1), *b = below + 3 * (x + 1), v[3], k;

            if (clear_at(j, px)) {
                j->index[y * w + x] = (unsigned char)j->pal->clear;
                continue;
            }
            for (k = 0; k < 3; k++) {
                v[k] = c[k] + (e[k] + 8 + 16 * 256) / 16 - 256;
                v[k] = v[k] < j->lo[k] ? j->lo[k] : v[k] > j->hi[k] ? j->hi[k] : v[k];
            }
            k = nearest(j, v);
            j->index[y * w + x] = (unsigned char)k;
            for (int n = 0; n < 3; n++) {
                const int off = v[n] - j->pal->colour[k][n];

                e[3 * step + n] += 7 * off;
                b[-3 * step + n] += 3 * off;
                b[n] += 5 * off;
                b[3 * step + n] += off;
            }
        }
    }
}

iip_status iip_quantise(const iip_raster *in, iip_palette *pal, unsigned char *index, apr_pool_t *p, iip_error *e)
{
    job j = {.in = in, .pal = pal, .index = index, .room = 256};
    const size_t errors = 2 * 3 * (size_t)(in->w + 2) * sizeof *j.diffused;

    memset(pal, 0, sizeof *pal);
    pal->clear = -1;
    for (int64_t y = 0; in->bands % 2 == 0 && pal->clear < 0 && y < in->h; y++)
        for (int64_t x = 0; pal->clear < 0 && x < in->w; x++)
            if (clear_at(&j, pixel_at(&j, x, y)))
                pal->clear = --j.room;
    if (!take_exactly(&j)) {
        if (!(j.cells = iip_codec_alloc(CELLS * sizeof *j.cells, p, e)) ||
            !(j.slice = iip_codec_alloc(SIDE * sizeof *j.slice, p, e)) ||
            !(j.near = iip_codec_alloc(2 * CELLS, p, e)) || !(j.diffused = iip_codec_alloc(errors, p, e)))
            return e->status;
        memset(j.cells, 0, CELLS * sizeof *j.cells);
        memset(j.near, 0, 2 * CELLS);
        memset(j.diffused, 0, errors);
        j.known = j.near + CELLS;
        span_cells(&j);
        choose(&j);
        diffuse(&j);
    }
    if (pal->clear >= 0 &&
        pal->count < pal->clear) { /* next to the others, so that the table is no longer than it must */
        for (int64_t i = 0; i < in->w * in->h; i++)
            if (index[i] == pal->clear)
                index[i] = (unsigned char)pal->count;
        pal->clear = pal->count;
    }
    pal->count += pal->clear >= 0;
    return IIP_OK;
}
