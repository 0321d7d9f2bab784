/* SPDX-License-Identifier: Apache-2.0
 * What a client holds, as runs. An edit clamps the held bytes of a range of bins; clamps can be composed, so that any
 * number of edits in any order is folded pair by pair into sorted runs, and these are laid over the model once. Long,
 * since asking, editing and packing all work on the runs, which nobody else is to see. */
#include "jpip/model.h"
#include <stdlib.h>
#include <string.h>

#define SETS         4               /* classes of a code-stream */
#define JPIP_SOURCES ((1 << 21) - 1) /* kept of an identity: three bytes of a record */
#define STEPS_MAX    (1 << 22)       /* code-streams times items of one text */

/* lo = hi = bytes held in a model; in between, a clamp. */
typedef struct {
    uint64_t first, last, lo, hi;
} run;

typedef struct {
    run *at; /* ascending, disjoint */
    size_t n;
} runs;

typedef struct {
    int64_t number;
    uint64_t used;
    uint32_t source; /* of the linked file's identity; 0 = none known */
    runs set[SETS];  /* by class >> 1 */
} holding;

struct jpip_model {
    runs meta;
    holding *at; /* ascending */
    size_t n, room;
};

static apr_status_t model_free(void *data)
{
    jpip_model *m = data;

    for (size_t i = 0; i < m->n; i++)
        for (int k = 0; k < SETS; k++)
            free(m->at[i].set[k].at);
    free(m->at);
    free(m->meta.at);
    free(m);
    return APR_SUCCESS;
}

jpip_model *jpip_model_make(apr_pool_t *p)
{
    jpip_model *m = calloc(1, sizeof *m);

    if (m)
        apr_pool_cleanup_register(p, m, model_free, apr_pool_cleanup_null);
    return m;
}

static iip_status no_memory(iip_error *e)
{
    return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a cache model");
}

/* ---- asking ---- */

/* Where this code-stream stands, or would. */
static size_t place(const jpip_model *m, int64_t number)
{
    size_t lo = 0, hi = m->n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (m->at[mid].number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static holding *find(const jpip_model *m, int64_t number)
{
    size_t i = place(m, number);

    return i < m->n && m->at[i].number == number ? &m->at[i] : NULL;
}

static const runs *set_of(const jpip_model *m, int64_t stream, int cls)
{
    const holding *h;

    if (cls == JPIP_METADATA)
        return &m->meta;
    h = find(m, stream);
    return h ? &h->set[cls >> 1] : NULL;
}

/* The first run that ends at id or behind it. */
static size_t seek(const runs *s, uint64_t id)
{
    size_t lo = 0, hi = s->n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (s->at[mid].last < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint64_t jpip_model_held(const jpip_model *m, int64_t stream, int cls, uint64_t id)
{
    const runs *s = set_of(m, stream, cls);
    size_t i = s ? seek(s, id) : 0;

    return s && i < s->n && s->at[i].first <= id ? s->at[i].lo : 0;
}

int jpip_model_complete(const jpip_model *m, int64_t stream, int cls, uint64_t first, uint64_t last)
{
    const runs *s = set_of(m, stream, cls);

    for (size_t i = s ? seek(s, first) : 0; s && i < s->n && s->at[i].first <= first; i++) {
        if (s->at[i].lo != JPIP_WHOLE)
            return 0;
        if (s->at[i].last >= last)
            return 1;
        first = s->at[i].last + 1;
    }
    return 0;
}

/* ---- edits ---- */

static apr_status_t edits_free(void *data)
{
    free(((jpip_edits *)data)->at);
    return APR_SUCCESS;
}

jpip_edits *jpip_edits_make(apr_pool_t *p)
{
    jpip_edits *l = apr_pcalloc(p, sizeof *l);

    apr_pool_cleanup_register(p, l, edits_free, apr_pool_cleanup_null);
    return l;
}

iip_status jpip_edits_add(jpip_edits *l, const jpip_edit *one, iip_error *e)
{
    if (l->n == JPIP_EDITS_MAX) {
        /* Not to know what he holds costs bytes; to believe what he has lost would cost the picture */
        if (one->hi != JPIP_WHOLE)
            return iip_refuse(e, IIP_E_LIMIT, "model");
        l->skipped++;
        return IIP_OK;
    }
    if (l->n == l->room) {
        size_t room = l->room ? l->room * 2 : 16;
        jpip_edit *more = realloc(l->at, room * sizeof *more);

        if (!more)
            return no_memory(e);
        l->at = more;
        l->room = room;
    }
    l->at[l->n] = *one;
    l->at[l->n].order = (uint32_t)l->n;
    l->n++;
    return IIP_OK;
}

static iip_status add_item(const jpip_geometry *g, int64_t stream, const jpip_item *it, jpip_edits *l, iip_error *e)
{
    jpip_edit one = {.stream = it->cls == JPIP_METADATA ? 0 : stream, .cls = it->cls};
    uint64_t bytes = it->bytes >= 0 ? (uint64_t)it->bytes : it->minus ? 0 : JPIP_WHOLE;
    iip_status rv = IIP_OK;

    if (it->implicit || it->layers >= 0)
        return g->expand(g->ctx, stream, it, l, e);
    one.lo = it->minus ? 0 : bytes;
    one.hi = it->minus ? bytes : JPIP_WHOLE;
    one.first = it->cls < 0 ? 0 : (uint64_t)it->id.a;
    one.last = it->cls < 0 ? (uint64_t)JPIP_ID_MAX : (uint64_t)it->id.b;
    if (one.last > (uint64_t)JPIP_ID_MAX)
        one.last = (uint64_t)JPIP_ID_MAX;
    if (one.first > one.last) {
        l->skipped++;
        return IIP_OK;
    }
    if (it->cls >= 0)
        return jpip_edits_add(l, &one, e);
    for (one.cls = 0; one.cls < 2 * SETS && rv == IIP_OK; one.cls += 2)
        rv = jpip_edits_add(l, &one, e);
    return rv;
}

iip_status jpip_items_edits(const char *text, const jpip_geometry *g, jpip_edits *l, iip_error *e)
{
    jpip_item it = {0};
    int64_t steps = 0;
    iip_status rv = IIP_OK;

    while (rv == IIP_OK && jpip_item_next(&text, &it) == 1) {
        const char *s = it.streams;

        if (!s || it.cls == JPIP_METADATA) {
            if (g->first < g->streams)
                rv = add_item(g, g->first, &it, l, e);
            if (++steps > STEPS_MAX)
                return iip_refuse(e, IIP_E_LIMIT, "model");
            continue;
        }
        do {
            jpip_range r;

            if (!jpip_range_read(&s, 1, &r))
                break;
            for (int64_t n = r.a; n <= r.b && n < g->streams && rv == IIP_OK; n += r.step) {
                if (++steps > STEPS_MAX)
                    return iip_refuse(e, IIP_E_LIMIT, "model");
                rv = add_item(g, n, &it, l, e);
            }
        } while (*s == ';' && *++s && rv == IIP_OK);
    }
    return rv;
}

/* ---- composing ---- */

static uint64_t clamp(uint64_t v, uint64_t lo, uint64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* b after a. out has room for 2 (na + nb) + 1; returns how many it took. */
static size_t compose(const run *a, size_t na, const run *b, size_t nb, run *out)
{
    size_t i = 0, j = 0, n = 0;
    uint64_t at = 0;

    while (i < na || j < nb) {
        int in_a = i < na && a[i].first <= at, in_b = j < nb && b[j].first <= at;
        uint64_t end = UINT64_MAX, lo = 0, hi = JPIP_WHOLE;

        if (!in_a && !in_b) {
            at = i < na && (j == nb || a[i].first < b[j].first) ? a[i].first : b[j].first;
            continue;
        }
        if (i < na)
            end = in_a ? a[i].last : a[i].first - 1;
        if (j < nb && (in_b ? b[j].last : b[j].first - 1) < end)
            end = in_b ? b[j].last : b[j].first - 1;
        if (in_a) {
            lo = a[i].lo;
            hi = a[i].hi;
        }
        if (in_b) {
            lo = clamp(lo, b[j].lo, b[j].hi);
            hi = clamp(hi, b[j].lo, b[j].hi);
        }
        if (n && out[n - 1].last + 1 == at && out[n - 1].lo == lo && out[n - 1].hi == hi)
            out[n - 1].last = end;
        else
            out[n++] = (run){at, end, lo, hi};
        i += in_a && a[i].last == end;
        j += in_b && b[j].last == end;
        at = end + 1;
    }
    return n;
}

static iip_status compose_alloc(const runs *a, const runs *b, runs *out, iip_error *e)
{
    out->at = malloc((2 * (a->n + b->n) + 1) * sizeof *out->at);
    if (!out->at)
        return no_memory(e);
    out->n = compose(a->at, a->n, b->at, b->n, out->at);
    return IIP_OK;
}

/* Edits of one class of one code-stream as runs. */
static iip_status fold(const jpip_edit *edit, size_t n, runs *out, iip_error *e)
{
    runs a = {0}, b = {0};
    size_t up = 1;
    iip_status rv;

    while (up < n && edit[up].first > edit[up - 1].last)
        up++;
    if (up == n) {
        out->at = malloc((n ? n : 1) * sizeof *out->at);
        if (!out->at)
            return no_memory(e);
        for (size_t i = 0; i < n; i++)
            out->at[i] = (run){edit[i].first, edit[i].last, edit[i].lo, edit[i].hi};
        out->n = n;
        return IIP_OK;
    }
    rv = fold(edit, n / 2, &a, e);
    if (rv == IIP_OK)
        rv = fold(edit + n / 2, n - n / 2, &b, e);
    if (rv == IIP_OK)
        rv = compose_alloc(&a, &b, out, e);
    free(a.at);
    free(b.at);
    return rv;
}

static holding *find_or_add(jpip_model *m, int64_t number)
{
    size_t i = place(m, number);

    if (i < m->n && m->at[i].number == number)
        return &m->at[i];
    if (m->n == m->room) {
        size_t room = m->room ? m->room * 2 : 4;
        holding *more = realloc(m->at, room * sizeof *more);

        if (!more)
            return NULL;
        m->at = more;
        m->room = room;
    }
    memmove(m->at + i + 1, m->at + i, (m->n - i) * sizeof *m->at);
    memset(&m->at[i], 0, sizeof *m->at);
    m->at[i].number = number;
    m->n++;
    return &m->at[i];
}

iip_status jpip_model_set(jpip_model *m, const jpip_edit *edit, size_t n, iip_error *e)
{
    runs over, out, *to;
    size_t k = 0;
    iip_status rv;

    if (!n)
        return IIP_OK;
    if (edit->cls == JPIP_METADATA) {
        to = &m->meta;
    } else {
        holding *h = find_or_add(m, edit->stream);

        if (!h)
            return no_memory(e);
        to = &h->set[edit->cls >> 1];
    }
    if ((rv = fold(edit, n, &over, e)) != IIP_OK)
        return rv;
    rv = compose_alloc(to, &over, &out, e);
    free(over.at);
    if (rv != IIP_OK)
        return rv;
    /* Where nothing was held, the lower end of the clamp is what is */
    for (size_t i = 0; i < out.n; i++) {
        run r = {out.at[i].first, out.at[i].last, out.at[i].lo, out.at[i].lo};

        if (!r.lo)
            continue;
        if (k && out.at[k - 1].last + 1 == r.first && out.at[k - 1].lo == r.lo)
            out.at[k - 1].last = r.last;
        else
            out.at[k++] = r;
    }
    free(to->at);
    if (!k) {
        free(out.at);
        out.at = NULL;
    } else if ((to->at = realloc(out.at, k * sizeof *out.at))) {
        out.at = to->at;
    }
    *to = (runs){out.at, k};
    return IIP_OK;
}

static int in_order(const void *pa, const void *pb)
{
    const jpip_edit *a = pa, *b = pb;

    if (a->stream != b->stream)
        return a->stream < b->stream ? -1 : 1;
    if (a->cls != b->cls)
        return a->cls < b->cls ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

iip_status jpip_model_apply(jpip_model *m, jpip_edits *l, iip_error *e)
{
    iip_status rv = IIP_OK;

    if (l->n > 1)
        qsort(l->at, l->n, sizeof *l->at, in_order);
    for (size_t i = 0, j; i < l->n && rv == IIP_OK; i = j) {
        for (j = i + 1; j < l->n && l->at[j].stream == l->at[i].stream && l->at[j].cls == l->at[i].cls; j++)
            ;
        rv = jpip_model_set(m, l->at + i, j - i, e);
    }
    return rv;
}

void jpip_model_touch(jpip_model *m, int64_t stream, uint64_t when)
{
    holding *h = find(m, stream);

    if (h)
        h->used = when;
}

int jpip_model_source(jpip_model *m, int64_t stream, uint64_t identity)
{
    holding *h = find_or_add(m, stream);
    uint32_t source = (uint32_t)(identity % JPIP_SOURCES) + 1;
    int same = !h || !h->source || h->source == source;

    if (h)
        h->source = source;
    return same;
}

static void forget(holding *h)
{
    for (int k = 0; k < SETS; k++)
        free(h->set[k].at);
}

void jpip_model_keep(jpip_model *m, const jpip_ranges *streams)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (jpip_ranges_have(streams, m->at[i].number))
            m->at[n++] = m->at[i];
        else
            forget(&m->at[i]);
    }
    m->n = n;
}

/* ---- packing ---- */

/* Numbers into out, or counted when there is none. */
typedef struct {
    unsigned char *out;
    size_t n;
} packer;

static void put(packer *k, uint64_t v)
{
    unsigned char spare[JPIP_VBAS_MAX];

    k->n += jpip_vbas_write(k->out ? k->out + k->n : spare, v);
}

/* How many runs; for each the bins since the last one, how many follow its first and whether they are whole, and if
 * not the bytes. */
static void put_runs(packer *k, const runs *s)
{
    uint64_t next = 0;

    put(k, s->n);
    for (size_t i = 0; i < s->n; i++) {
        const run *r = &s->at[i];
        int part = r->lo != JPIP_WHOLE;

        put(k, r->first - next);
        put(k, (r->last - r->first) << 1 | (unsigned)part);
        if (part)
            put(k, r->lo);
        next = r->last + 1;
    }
}

static void put_holding(packer *k, const holding *h, int64_t after, int precincts)
{
    static const runs none;

    put(k, (uint64_t)(h->number - after));
    put(k, h->used);
    put(k, h->source);
    for (int i = 0; i < SETS; i++)
        put_runs(k, i == JPIP_PRECINCT >> 1 && !precincts ? &none : &h->set[i]);
}

/* Bytes beside what the loops count: number of code-streams, and a number that grows when its neighbour is left out. */
#define PACK_SLACK 16

typedef struct {
    uint64_t used;
    size_t index, whole, bare; /* bytes with and without precincts */
    int keep;                  /* 2 whole, 1 without precincts, 0 not at all */
} plan;

static int by_use(const void *pa, const void *pb)
{
    const plan *a = pa, *b = pb;

    if (a->used != b->used)
        return a->used < b->used ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

static int by_index(const void *pa, const void *pb)
{
    return ((const plan *)pa)->index < ((const plan *)pb)->index ? -1 : 1;
}

size_t jpip_model_pack(const jpip_model *m, unsigned char *out, size_t room)
{
    plan *pl = malloc((m->n ? m->n : 1) * sizeof *pl);
    size_t total = 0, kept = 0;
    int64_t after = 0;
    packer k = {0};

    put_runs(&k, &m->meta);
    total = k.n + PACK_SLACK;
    if (!pl || total > room) {
        free(pl);
        return 0;
    }
    for (size_t i = 0; i < m->n; i++) {
        packer whole = {0}, bare = {0};

        /* Numbers count from the last one kept: counted from 0 they are never shorter */
        put_holding(&whole, &m->at[i], 0, 1);
        put_holding(&bare, &m->at[i], 0, 0);
        pl[i] = (plan){m->at[i].used, i, whole.n, bare.n, 2};
        total += whole.n;
    }
    qsort(pl, m->n, sizeof *pl, by_use);
    for (int keep = 1; keep >= 0; keep--)
        for (size_t i = 0; i < m->n && total > room; i++) {
            total -= keep ? pl[i].whole - pl[i].bare : pl[i].bare;
            pl[i].keep = keep;
        }
    qsort(pl, m->n, sizeof *pl, by_index);
    for (size_t i = 0; i < m->n; i++)
        kept += pl[i].keep > 0;
    k = (packer){out, 0};
    put_runs(&k, &m->meta);
    put(&k, kept);
    for (size_t i = 0; i < m->n; i++)
        if (pl[i].keep) {
            put_holding(&k, &m->at[i], after, pl[i].keep == 2);
            after = m->at[i].number;
        }
    free(pl);
    return k.n;
}

typedef struct {
    const unsigned char *p;
    size_t n;
    int bad;
} unpacker;

static uint64_t get(unpacker *u)
{
    uint64_t v;
    size_t k = jpip_vbas_read(u->p, u->n, &v);

    u->bad |= !k;
    u->p += k;
    u->n -= k;
    return k ? v : 0;
}

static iip_status get_runs(unpacker *u, runs *s, iip_error *e)
{
    uint64_t n = get(u), next = 0;

    if (u->bad || n > u->n / 2) {
        u->bad = 1;
        return IIP_OK;
    }
    if (!n)
        return IIP_OK;
    s->at = malloc(n * sizeof *s->at);
    if (!s->at)
        return no_memory(e);
    for (; s->n < n && !u->bad; s->n++) {
        uint64_t gap = get(u), more = get(u), held = JPIP_WHOLE;

        if (more & 1)
            held = get(u);
        if (u->bad || gap > JPIP_ID_MAX || more >> 1 > JPIP_ID_MAX || next + gap + (more >> 1) > JPIP_ID_MAX || !held) {
            u->bad = 1;
            break;
        }
        s->at[s->n] = (run){next + gap, next + gap + (more >> 1), held, held};
        next = s->at[s->n].last + 1;
    }
    return IIP_OK;
}

iip_status jpip_model_unpack(jpip_model **out, const unsigned char *p, size_t n, apr_pool_t *pool, iip_error *e)
{
    jpip_model *m = jpip_model_make(pool);
    unpacker u = {p, n, 0};
    uint64_t count;
    int64_t number = 0;
    iip_status rv;

    if (!m)
        return no_memory(e);
    rv = get_runs(&u, &m->meta, e);
    count = rv == IIP_OK ? get(&u) : 0;
    for (uint64_t i = 0; i < count && !u.bad && rv == IIP_OK; i++) {
        uint64_t step = get(&u), used = get(&u), source = get(&u);
        holding *h;

        if (u.bad || source > JPIP_SOURCES || step > JPIP_NUMBER_MAX || (i && !step) ||
            number + (int64_t)step > JPIP_NUMBER_MAX) {
            u.bad = 1;
            break;
        }
        number += (int64_t)step;
        if (!(h = find_or_add(m, number)))
            return no_memory(e);
        h->used = used;
        h->source = (uint32_t)source;
        for (int k = 0; k < SETS && rv == IIP_OK && !u.bad; k++)
            rv = get_runs(&u, &h->set[k], e);
    }
    if (rv == IIP_OK && (u.bad || u.n))
        rv = iip_fail(e, IIP_E_CORRUPT, 0, "JPIP: a channel's record is damaged");
    *out = m;
    return rv;
}
