/* SPDX-License-Identifier: Apache-2.0
 * Where a tile's packets end by the lengths that PLT or PLM segments give. */
#include "jpip/index_data.h"
#include <stdlib.h>

#define TRIED       64                  /* packets whose headers must bear out the lengths that markers give, */
#define TRIED_BYTES ((int64_t)64 << 10) /* while that takes no more reading */

/* Where the first packets end by their headers. */
typedef struct {
    jpip_tile *t;
    int64_t from, end[TRIED]; /* from: what had been read before */
    int n;
} trial;

typedef struct {
    jpip_tile *t;
    reader r;
    const unsigned char *v, *end;
    jpip_put *put;
    void *ctx;
    trial trial;
    int count; /* of packets that were compared */
} measured;

/* 0: not a length that a packet can have. */
static int64_t length(const unsigned char **v, const unsigned char *end)
{
    int64_t n = 0;

    while (*v < end && n < INT64_C(1) << 32) {
        const unsigned char b = *(*v)++;

        n = n << 7 | (b & 127);
        if (!(b & 128))
            return n;
    }
    return 0;
}

/* Without the zeros that encoders leave behind the last length. */
static size_t without_padding(const unsigned char *v, size_t n)
{
    while (n > 0 && v[n - 1] == 0 && (n == 1 || !(v[n - 2] & 128)))
        n--;
    return n;
}

/* 1 if there are as many lengths as packets, and they fill the tile-parts. */
static int agree(jpip_tile *t)
{
    const iip_jp2_part *part;
    uint64_t count = 0;
    int n = 0;

    if (t->h->apart)
        return 0;
    for (int32_t i = t->h->first[t->tile]; i >= 0; i = part->next, n++) {
        jpip_lengths *k = &t->part[n];
        const unsigned char *v, *end;
        int64_t sum = 0;

        part = &t->h->part[i];
        if (!k->there || !t->lengths.n)
            return 0;
        v = t->lengths.p + k->at;
        k->len = without_padding(v, k->len);
        for (end = v + k->len; v < end; count++) {
            const int64_t len = length(&v, end);

            if (len == 0)
                return 0;
            sum += len;
        }
        if (sum != part->at + part->len + part->missing - part->data)
            return 0;
    }
    return n && (t->h->cut ? count <= (uint64_t)t->precincts * (uint64_t)t->layers
                           : count == (uint64_t)t->precincts * (uint64_t)t->layers);
}

static iip_status one_length(void *ctx, uint32_t precinct, int c, int res, int layer)
{
    measured *m = ctx;
    jpip_found found = {0};
    int64_t at;

    while (m->r.part && m->v == m->end) {
        next_part(&m->r);
        if (!m->r.part)
            break;
        m->v = m->t->lengths.p + m->t->part[m->r.number].at;
        m->end = m->v + m->t->part[m->r.number].len;
    }
    if (!m->r.part)
        return IIP_E_ABORTED;
    at = place(&m->r);
    found.len = length(&m->v, m->end);
    if (found.len > m->r.end - at)
        return IIP_E_ABORTED; /* cut */
    found.part = m->r.number;
    found.at = skip_sop(&m->r) ? place(&m->r) : at;
    if (m->t->e->status)
        return m->t->e->status;
    go_to(&m->r, at + found.len);
    if (m->count < m->trial.n && m->trial.end[m->count++] != at + found.len)
        return IIP_E_FEATURE;
    found.len -= found.at - at;
    return found.len < 1 ? iip_jp2_damaged(m->t->e, "a packet without a header")
                         : m->put(m->ctx, precinct, res, layer, &found);
}

static iip_status note(void *ctx, uint32_t precinct, int res, int layer, const jpip_found *found)
{
    trial *k = ctx;

    k->end[k->n++] = found->at + found->len;
    return k->n == TRIED || k->t->read - k->from > TRIED_BYTES ? IIP_E_ABORTED : IIP_OK;
}

/* Lengths that lie and come out even all the same are found out by the first packets, if at all. Headers that cannot be
 * understood prove nothing. */
static iip_status try_headers(trial *k)
{
    const iip_status rv = jpip_by_headers(k->t, note, k);

    if (rv == IIP_E_FORMAT) {
        k->n = 0;
        k->t->e->status = IIP_OK;
        return IIP_OK;
    }
    if (rv == IIP_E_CORRUPT)
        k->t->e->status = IIP_OK;
    return rv == IIP_E_CORRUPT ? IIP_E_FEATURE : rv;
}

iip_status jpip_by_lengths(jpip_tile *t, jpip_put *put, void *ctx)
{
    measured m = {.t = t, .put = put, .ctx = ctx, .trial = {.t = t, .from = t->read}};
    iip_status rv;

    if (!agree(t))
        return IIP_E_FEATURE;
    if (t->tile == 0 && (rv = try_headers(&m.trial)) != IIP_OK)
        return rv;
    if (open_reader(&m.r, t) != IIP_OK)
        return t->e->status;
    m.v = t->lengths.p + t->part[0].at;
    m.end = m.v + t->part[0].len;
    rv = jpip_walk(t, one_length, &m);
    free(m.r.buf);
    return rv;
}
