/* SPDX-License-Identifier: Apache-2.0
 * The order of a tile's packets (T.800 B.12), progression order changes included. */
#include "jpip/index_build.h"
#include <stdlib.h>
#include <time.h>

iip_status jpip_tile_time(jpip_tile *t)
{
    struct timespec now;

    if (++t->steps & 0xfff)
        return IIP_OK;
    if (t->stop && __atomic_load_n(t->stop, __ATOMIC_RELAXED))
        return iip_fail(t->e, IIP_E_ABORTED, 0, "JPEG 2000: no time left for an index");
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    if ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec > t->until)
        return iip_fail(t->e, IIP_E_FORMAT, 0, "JPEG 2000: packets that take more than a minute to find");
    return IIP_OK;
}

/* A packet named by an earlier volume is skipped. Layers of a precinct always come one after the other. */
static iip_status name(jpip_tile *t, uint32_t k, int c, int r, int layer, jpip_visit *visit, void *ctx)
{
    if (t->done[k] != layer)
        return jpip_tile_time(t);
    t->done[k]++;
    return visit(ctx, k, c, r, layer);
}

static const jpip_grid *grid_of(const jpip_tile *t, int c, int r)
{
    return &t->grid[t->row[c] + (uint32_t)r];
}

/* --- layers or resolutions first ---------------------------------------------------------------------------------- */

static iip_status resolution(jpip_tile *t, const jpip_volume *v, int layer, int r, jpip_visit *visit, void *ctx)
{
    for (int c = v->c0; c < v->c1; c++) {
        const jpip_grid *g;
        uint32_t n;

        if (r > t->coding[c].levels)
            continue;
        g = grid_of(t, c, r);
        n = (uint32_t)(g->wide * g->high);
        for (uint32_t k = 0; k < n; k++) {
            iip_status rv = name(t, g->base + k, c, r, layer, visit, ctx);

            if (rv != IIP_OK)
                return rv;
        }
    }
    return jpip_tile_time(t);
}

static iip_status lrcp(jpip_tile *t, const jpip_volume *v, jpip_visit *visit, void *ctx)
{
    iip_status rv = IIP_OK;

    for (int l = 0; l < v->layers && rv == IIP_OK; l++)
        for (int r = v->r0; r < v->r1 && rv == IIP_OK; r++)
            rv = resolution(t, v, l, r, visit, ctx);
    return rv;
}

static iip_status rlcp(jpip_tile *t, const jpip_volume *v, jpip_visit *visit, void *ctx)
{
    iip_status rv = IIP_OK;

    for (int r = v->r0; r < v->r1 && rv == IIP_OK; r++)
        for (int l = 0; l < v->layers && rv == IIP_OK; l++)
            rv = resolution(t, v, l, r, visit, ctx);
    return rv;
}

/* --- positions first ---------------------------------------------------------------------------------------------- */

/* A resolution that takes part: where on the reference grid its columns and rows of precincts fall, and which come
 * next. */
typedef struct {
    const jpip_grid *g;
    int c, r;
    int64_t x0, y0, step_x, step_y; /* cell 0, and from one to the next */
    int64_t column, row, x, y;
} runner;

/* A precinct belongs where its top left corner falls, the first also at the tile's edge. */
static int64_t place(int64_t first, int64_t step, int64_t i, int64_t edge)
{
    const int64_t at = first + i * step;

    return at > edge ? at : edge;
}

/* All resolutions r0 .. r1 of components c0 .. c1, in the order in which they follow at one position. Returns how many
 * have precincts. */
static int line_up(const jpip_tile *t, const jpip_volume *v, int c0, int c1, int r0, int r1, runner *out)
{
    int n = 0;

    for (int c = c0; c < c1; c++)
        for (int r = r0; r < r1 && r <= t->coding[c].levels; r++) {
            const jpip_grid *g = grid_of(t, c, r);
            const int up = t->coding[c].levels - r;
            runner *k = &out[n];

            if (g->wide == 0)
                continue;
            *k = (runner){.g = g, .c = c, .r = r};
            k->step_x = (int64_t)t->h->comp[c].dx << (g->px + up);
            k->step_y = (int64_t)t->h->comp[c].dy << (g->py + up);
            k->x0 = (g->box.x0 >> g->px) * k->step_x;
            k->y0 = (g->box.y0 >> g->py) * k->step_y;
            n++;
        }
    return n;
}

/* One position: the next precinct of all that have one there. */
static iip_status at_column(jpip_tile *t, const jpip_volume *v, runner *k, int n, int64_t x, int64_t y, int64_t *next,
                            jpip_visit *visit, void *ctx)
{
    iip_status rv = IIP_OK;

    for (*next = INT64_MAX; n > 0 && rv == IIP_OK; n--, k++) {
        if (k->y != y || k->column == k->g->wide)
            continue;
        if (k->x == x) {
            const uint32_t p = k->g->base + (uint32_t)(k->row * k->g->wide + k->column);

            for (int l = t->done[p]; l < v->layers && rv == IIP_OK; l++)
                rv = name(t, p, k->c, k->r, l, visit, ctx);
            if (++k->column == k->g->wide)
                continue;
            k->x = place(k->x0, k->step_x, k->column, t->box.x0);
        }
        *next = k->x < *next ? k->x : *next;
        if (rv == IIP_OK)
            rv = jpip_tile_time(t);
    }
    return rv;
}

static iip_status sweep(jpip_tile *t, const jpip_volume *v, runner *all, int n, jpip_visit *visit, void *ctx)
{
    iip_status rv = IIP_OK;

    for (int i = 0; i < n; i++)
        all[i].y = place(all[i].y0, all[i].step_y, 0, t->box.y0);
    while (rv == IIP_OK) {
        int64_t y = INT64_MAX, x = INT64_MAX, next;

        for (int i = 0; i < n; i++)
            y = all[i].y < y ? all[i].y : y;
        if (y == INT64_MAX)
            break;
        for (int i = 0; i < n; i++) {
            if (all[i].y != y)
                continue;
            all[i].column = 0;
            all[i].x = place(all[i].x0, all[i].step_x, 0, t->box.x0);
            x = all[i].x < x ? all[i].x : x;
        }
        for (; x != INT64_MAX && rv == IIP_OK; x = next)
            rv = at_column(t, v, all, n, x, y, &next, visit, ctx);
        for (int i = 0; i < n; i++)
            if (all[i].y == y)
                all[i].y =
                    ++all[i].row == all[i].g->high ? INT64_MAX : place(all[i].y0, all[i].step_y, all[i].row, t->box.y0);
    }
    return rv;
}

static iip_status positions(jpip_tile *t, const jpip_volume *v, runner *all, jpip_visit *visit, void *ctx)
{
    iip_status rv = IIP_OK;

    if (v->order == 2) /* RPCL */
        for (int r = v->r0; r < v->r1 && rv == IIP_OK; r++)
            rv = sweep(t, v, all, line_up(t, v, v->c0, v->c1, r, r + 1, all), visit, ctx);
    else if (v->order == 3) /* PCRL */
        rv = sweep(t, v, all, line_up(t, v, v->c0, v->c1, v->r0, v->r1, all), visit, ctx);
    else /* CPRL */
        for (int c = v->c0; c < v->c1 && rv == IIP_OK; c++)
            rv = sweep(t, v, all, line_up(t, v, c, c + 1, v->r0, v->r1, all), visit, ctx);
    return rv;
}

/* --- volumes ------------------------------------------------------------------------------------------------------ */

iip_status jpip_walk(jpip_tile *t, jpip_visit *visit, void *ctx)
{
    const jpip_volume *v = (const jpip_volume *)(const void *)t->volumes.p;
    runner *all = malloc((size_t)t->row[t->h->comps] * sizeof *all);
    iip_status rv = IIP_OK;

    if (!all)
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a progression");
    for (size_t i = 0; i < t->precincts; i++)
        t->done[i] = 0;
    for (size_t n = t->volumes.n / sizeof *v; n > 0 && rv == IIP_OK; n--, v++)
        if (v->order == 0)
            rv = lrcp(t, v, visit, ctx);
        else if (v->order == 1)
            rv = rlcp(t, v, visit, ctx);
        else
            rv = positions(t, v, all, visit, ctx);
    free(all);
    return rv == IIP_E_ABORTED ? IIP_OK : rv;
}
