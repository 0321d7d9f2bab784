/* SPDX-License-Identifier: Apache-2.0
 * Two rows of cells: the one that is wanted and the next, each cell free, taken or done under one lock. */
#include "ahead.h"
#include "quarantine.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 16
#define LOOK         4000000   /* nanoseconds until a thread that found no idle core looks again */
#define PATIENCE     100000000 /* nanoseconds between two looks at the deadline */

typedef enum { FREE, TAKEN, DONE, FAILED } state;

typedef struct {
    iip_rect rect;
    state is;
} cell_task;

typedef struct {
    iip_rect want;
    int cells; /* 0: no row */
    cell_task *cell;
    iip_raster px[IIP_PLANES]; /* what other threads decode of it; one, or each plane */
} cell_row;

typedef struct {
    iip_ahead_t *a;
    pthread_t id;
    iip_cells cells;
    iip_budget budget; /* its own: the request's is not for two threads, and was charged for what is needed */
    int same;
} helper;

struct iip_ahead {
    iip_cells *c;
    int level;
    iip_rect cover;
    iip_idle_fn *idle;
    size_t held;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    cell_row row[2];
    int now;  /* the row that is wanted */
    int stop; /* nobody wants any more */
    int threads, started;
    helper thread[];
};

/* ---- the end of the process ---- */

static int closing, inside;

void iip_ahead_close(void)
{
    const struct timespec pause_1ms = {0, 1000000};

    __atomic_store_n(&closing, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 2000 && __atomic_load_n(&inside, __ATOMIC_SEQ_CST); i++)
        nanosleep(&pause_1ms, NULL);
}

/* 0: it must not be entered any more. */
static int go_in(void)
{
    __atomic_fetch_add(&inside, 1, __ATOMIC_SEQ_CST);
    return !__atomic_load_n(&closing, __ATOMIC_SEQ_CST);
}

static void come_out(void)
{
    __atomic_fetch_sub(&inside, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&closing, __ATOMIC_SEQ_CST))
        pause(); /* the code that would be run next may be gone */
}

/* ---- idle cores ---- */

/* Threads that run or could, of the whole machine ("0.20 0.18 0.12 1/80 11206"). */
static int running(void)
{
    char text[128];
    const char *at = text;
    int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC), n = 0;
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return INT_MAX / 2;
    text[got] = '\0';
    for (int i = 0; i < 3; i++)
        at += strcspn(at, " ") + (at[strcspn(at, " ")] != '\0');
    while (*at >= '0' && *at <= '9' && n < 1000000)
        n = 10 * n + (*at++ - '0');
    return n;
}

int iip_ahead_idle(int more)
{
    return running() + more <= sysconf(_SC_NPROCESSORS_ONLN);
}

/* ---- cells ---- */

static int planes(const iip_cells *c)
{
    return c->planes ? IIP_PLANES : 1;
}

static size_t pixel_size(const iip_cells *c)
{
    return c->planes ? 1 : (size_t)c->info->bands * iip_sample_size(c->info->sample);
}

/* The part of a row, whose first pixel is at `from` in the level; its raster or its planes. */
static void part_of(const iip_cells *c, const iip_raster *all, iip_rect from, iip_rect rect, iip_raster *out)
{
    rect.x -= from.x;
    rect.y -= from.y;
    for (int k = 0; k < planes(c); k++) {
        const iip_rect at = iip_plane_rect(rect, k);

        out[k] = all[k];
        out[k].px += (size_t)at.y * all[k].stride + (size_t)at.x * pixel_size(c);
        out[k].w = at.w;
        out[k].h = at.h;
    }
}

static int set_locked(iip_ahead_t *a, cell_row *row, iip_rect want)
{
    const int64_t side = a->c->info->level[a->level].tile_w;

    row->want = want;
    row->cells = 0;
    for (int64_t x = want.x; x < want.x + want.w;) {
        int64_t end = x - x % side + side;

        end = end < want.x + want.w ? end : want.x + want.w;
        row->cell[row->cells++] = (cell_task){{x, want.y, end - x, want.h}, FREE};
        x = end;
    }
    return row->cells;
}

static cell_task *free_locked(iip_ahead_t *a, cell_row **of)
{
    for (int k = 0; k < 2; k++) {
        cell_row *row = &a->row[a->now ^ k];

        for (int i = 0; i < row->cells; i++)
            if (row->cell[i].is == FREE) {
                *of = row;
                return &row->cell[i];
            }
    }
    return NULL;
}

static void wait_locked(iip_ahead_t *a, pthread_cond_t *what, long ns)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ns;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_cond_timedwait(what, &a->lock, &t);
}

/* ---- the other threads ---- */

static iip_status decode(helper *h, const cell_row *row, const cell_task *cell)
{
    iip_raster to[IIP_PLANES];
    iip_error e;

    part_of(&h->cells, row->px, row->want, cell->rect, to);
    return iip_cells_fetch(&h->cells, h->a->level, cell->rect, to, &e);
}

static void work_locked(helper *h)
{
    iip_ahead_t *a = h->a;
    int sure = 0; /* a core was idle a moment ago */
    cell_row *row;
    cell_task *cell;
    iip_status rv;

    while (!a->stop) {
        if (!(cell = free_locked(a, &row))) {
            pthread_cond_wait(&a->work, &a->lock);
            continue;
        }
        if (!sure) {
            pthread_mutex_unlock(&a->lock);
            sure = a->idle(0);
            pthread_mutex_lock(&a->lock);
            if (!sure)
                wait_locked(a, &a->work, LOOK);
            continue;
        }
        sure = 0;
        cell->is = TAKEN;
        pthread_mutex_unlock(&a->lock);
        rv = go_in() ? decode(h, row, cell) : IIP_E_ABORTED;
        come_out();
        pthread_mutex_lock(&a->lock);
        cell->is = rv == IIP_OK ? DONE : FAILED;
        pthread_cond_signal(&a->done);
        if (rv != IIP_OK)
            return;
    }
}

static void *run(void *helper_)
{
    helper *h = helper_;
    iip_cells *c = &h->cells;
    iip_error e;
    int good = 0;

    if (go_in())
        good = iip_readers_take(c->readers, c->src, c->page, c->lim, &c->lease, &e) == IIP_OK;
    come_out();
    /* One that runs for one thread at a time is of no use to two */
    if (good && !(c->lease->dec->flags & IIP_DEC_SERIAL)) {
        pthread_mutex_lock(&h->a->lock);
        work_locked(h);
        pthread_mutex_unlock(&h->a->lock);
    }
    h->same = !c->lease || iip_source_same(c->lease->src);
    if (go_in())
        iip_cells_done(c, 1);
    come_out();
    return NULL;
}

static void start(iip_ahead_t *a)
{
    sigset_t before;

    iip_quarantine_mask(&before);
    while (a->started < a->threads && a->idle(1)) {
        helper *h = &a->thread[a->started];

        h->a = a;
        h->cells = *a->c;
        h->cells.lease = NULL;
        h->cells.budget = &h->budget;
        h->budget = (iip_budget){.limit = SIZE_MAX, .until = a->c->budget->until};
        h->same = 1;
        if (pthread_create(&h->id, NULL, run, h) != 0)
            break;
        a->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the request's thread ---- */

/* Waits for what another thread has taken. IIP_E_TIMEOUT, IIP_E_ABORTED. */
static iip_status await(iip_ahead_t *a, cell_task *cell, iip_error *e)
{
    iip_status rv = IIP_OK;

    pthread_mutex_lock(&a->lock);
    while (cell->is == TAKEN && rv == IIP_OK) {
        wait_locked(a, &a->done, PATIENCE);
        if (cell->is == TAKEN)
            rv = iip_budget_check(a->c->budget, e);
    }
    pthread_mutex_unlock(&a->lock);
    return rv;
}

/* A cell that this thread has, or that is done, to its place in out. */
static iip_status put(iip_ahead_t *a, const cell_row *row, cell_task *cell, int done, iip_raster *out, iip_error *e)
{
    iip_raster to[IIP_PLANES], from[IIP_PLANES];

    part_of(a->c, out, row->want, cell->rect, to);
    if (!done)
        return iip_cells_fetch(a->c, a->level, cell->rect, to, e);
    part_of(a->c, row->px, row->want, cell->rect, from);
    for (int k = 0; k < planes(a->c); k++)
        for (int64_t y = 0; y < to[k].h; y++)
            memcpy(to[k].px + (size_t)y * to[k].stride, from[k].px + (size_t)y * from[k].stride,
                   (size_t)to[k].w * pixel_size(a->c));
    return IIP_OK;
}

static iip_status gather(iip_ahead_t *a, cell_row *row, iip_raster *out, iip_error *e)
{
    /* First what nobody has or has done; then what the others were at meanwhile */
    for (int last = 0; last < 2; last++)
        for (int i = 0; i < row->cells; i++) {
            cell_task *cell = &row->cell[i];
            iip_status rv;
            state was;

            if (!cell->rect.w)
                continue; /* it is in its place */
            if (last && (rv = await(a, cell, e)) != IIP_OK)
                return rv;
            pthread_mutex_lock(&a->lock);
            was = cell->is;
            if (was == FREE)
                cell->is = FAILED; /* to the others */
            pthread_mutex_unlock(&a->lock);
            if (was == TAKEN)
                continue;
            if ((rv = put(a, row, cell, was == DONE, out, e)) != IIP_OK)
                return rv;
            cell->rect.w = 0;
        }
    return IIP_OK;
}

static int equal(iip_rect a, iip_rect b)
{
    return a.x == b.x && a.y == b.y && a.w == b.w && a.h == b.h;
}

iip_status iip_ahead_fetch(void *ahead, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    iip_ahead_t *a = ahead;
    const int64_t tall = a->c->info->level[a->level].tile_h, y = want.y + want.h, rest = a->cover.y + a->cover.h - y;
    iip_rect next = {want.x, y, want.w, tall - y % tall < rest ? tall - y % tall : rest};
    cell_row *row;

    if (level != a->level || want.x != a->cover.x || want.w != a->cover.w || want.y % tall + want.h > tall)
        return iip_cells_fetch(a->c, level, want, out, e);
    if (a->started < a->threads)
        start(a);
    if (!a->started)
        return iip_cells_fetch(a->c, level, want, out, e);
    pthread_mutex_lock(&a->lock);
    row = &a->row[a->now ^ 1];
    if (row->cells && equal(row->want, want)) {
        a->now ^= 1;
    } else {
        /* The first row, or another than was foreseen: what has been begun of that ends, nothing more is begun */
        for (int i = 0; i < row->cells; i++)
            if (row->cell[i].is == FREE)
                row->cell[i].is = FAILED;
        for (int i = 0; i < row->cells; i++)
            while (row->cell[i].is == TAKEN)
                wait_locked(a, &a->done, PATIENCE);
        row->cells = 0;
        row = &a->row[a->now];
        set_locked(a, row, want);
    }
    if (rest > 0)
        set_locked(a, &a->row[a->now ^ 1], next);
    else
        a->row[a->now ^ 1].cells = 0;
    pthread_cond_broadcast(&a->work);
    pthread_mutex_unlock(&a->lock);
    return gather(a, row, out, e);
}

/* ---- life ---- */

/* By malloc and not from the pool: a thread may only be found to be at work when the pool goes. */
static void drop(iip_ahead_t *a)
{
    for (int k = 0; k < 2; k++) {
        free(a->row[k].cell);
        free(a->row[k].px[0].px);
    }
    iip_budget_back(a->c->budget, a->held);
    pthread_cond_destroy(&a->done);
    pthread_cond_destroy(&a->work);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

iip_ahead_t *iip_ahead_begin(iip_cells *c, int level, iip_rect cover, int threads, size_t spare, iip_idle_fn *idle)
{
    const iip_level *l = &c->info->level[level];
    const size_t cells = (size_t)(cover.w / l->tile_w + 2), n = threads < MOST_THREADS ? (size_t)threads : MOST_THREADS;
    const size_t stride = (size_t)(cover.w + 1) * pixel_size(c) * (c->planes ? 2 : 1); /* of planes: more than enough */
    size_t bytes = 0, held = 0;
    pthread_condattr_t attr;
    iip_ahead_t *a;
    unsigned char *px;
    iip_error e;

    /* Formats without tiles are read from the top to the bottom, by one */
    if (threads < 1 || !c->info->tiled || c->info->orientation > 1 || level >= c->info->virtual_from ||
        cover.w <= l->tile_w || cover.h <= l->tile_h)
        return NULL;
    /* Two rows, and what each thread's decoder holds */
    if (__builtin_mul_overflow(stride, (size_t)l->tile_h, &bytes) ||
        __builtin_mul_overflow(n, c->info->hold + c->info->level_hold[level] + IIP_MAX_CELL / 64, &held) ||
        __builtin_add_overflow(held, 2 * bytes, &held) || held > spare ||
        iip_budget_take(c->budget, held, &e) != IIP_OK)
        return NULL;
    if (!(a = calloc(1, sizeof *a + n * sizeof *a->thread))) {
        iip_budget_back(c->budget, held);
        return NULL;
    }
    a->c = c;
    a->level = level;
    a->cover = cover;
    a->idle = idle;
    a->held = held;
    a->threads = (int)n;
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->work, &attr);
    pthread_cond_init(&a->done, &attr);
    pthread_condattr_destroy(&attr);
    for (int k = 0; k < 2; k++) {
        a->row[k].cell = calloc(cells, sizeof *a->row[k].cell);
        px = malloc(bytes);
        for (int i = 0; i < planes(c); i++) {
            a->row[k].px[i] = (iip_raster){.bands = c->info->bands, .sample = c->info->sample, .px = px};
            if (c->planes)
                a->row[k].px[i].bands = 1;
            a->row[k].px[i].stride = (size_t)iip_plane_side(cover.w, i) * pixel_size(c);
            px = px ? px + a->row[k].px[i].stride * (size_t)iip_plane_side(l->tile_h, i) : NULL;
        }
        if (!a->row[k].cell || !a->row[k].px[0].px) {
            drop(a);
            return NULL;
        }
    }
    return a;
}

int iip_ahead_end(iip_ahead_t *a)
{
    int same = 1;

    if (!a)
        return 1;
    pthread_mutex_lock(&a->lock);
    a->stop = 1;
    pthread_cond_broadcast(&a->work);
    pthread_mutex_unlock(&a->lock);
    for (int i = 0; i < a->started; i++) {
        pthread_join(a->thread[i].id, NULL);
        same &= a->thread[i].same;
        a->c->decoded += a->thread[i].cells.decoded;
    }
    drop(a);
    return same;
}
