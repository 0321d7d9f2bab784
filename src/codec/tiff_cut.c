/* SPDX-License-Identifier: Apache-2.0
 * TIFF: a stored JPEG tile cut as it lies. What is kept of its blocks is copied bit by bit, so nothing is decoded but
 * where one code ends and the next begins; only the first block of each component behind a gap needs another
 * difference (ITU-T T.81, annex F). Through libjpeg's coefficients the same costs five times as much. What is out of
 * the ordinary is left to that way. */
#include "codec/tiff_dir.h"
#include <endian.h>
#include <string.h>

#define FAST     9  /* bits of most codes */
#define MANY     11 /* of two AC coefficients most times */
#define MOST_DC  11
#define MOST_MCU 10 /* blocks */
#define END      128

#define INLINE static inline __attribute__((always_inline))

enum { DHT = 0xC4, DRI = 0xDD };

/* A code with what follows it, as bits together << 8 | what it means: the size of a DC difference; of AC coefficients
 * the steps to the next, and END if there is none. 0: no code. */
typedef uint16_t step;

/* Huffman codes of one table. */
typedef struct {
    step fast[1 << FAST]; /* by the next bits; 0: a longer one, or none */
    step many[1 << MANY]; /* AC: all that is in the next bits, up to the end of the block; 0: less than one */
    uint32_t limit[17];   /* of 16 bits, what lies above all codes of this length and shorter */
    int offset[17];       /* from a code of this length to its symbol */
    unsigned char symbol[256];
    uint16_t code[MOST_DC + 1]; /* by the size of a DC difference */
    unsigned char length[MOST_DC + 1];
    int there;
} coding;

struct iip_tiff_codes {
    coding dc[4], ac[4];
};

static step step_of(int ac, unsigned length, unsigned symbol)
{
    const unsigned size = ac ? symbol & 15 : symbol;

    if (!ac)
        return (step)((length + size) << 8 | symbol);
    if (size)
        return (step)((length + size) << 8 | ((symbol >> 4) + 1));
    return symbol == 0xF0 ? (step)(length << 8 | 16) : symbol == 0 ? (step)(length << 8 | END) : 0;
}

static step many_of(const coding *c, unsigned bits)
{
    unsigned n = 0, steps = 0;

    while (!(steps & END)) {
        const step s = c->fast[(bits << n & ((1u << MANY) - 1)) >> (MANY - FAST)];

        if (!s || n + (s >> 8) > MANY || steps + (s & (END - 1)) >= 64)
            break;
        n += s >> 8;
        steps += s & 0xFF;
    }
    return (step)(n << 8 | steps);
}

/* One table of a DHT that was found good; the symbols' number. */
static unsigned read_coding(coding *c, int ac, const unsigned char *s)
{
    unsigned code = 0, n = 0;

    memset(c, 0, sizeof *c);
    c->there = 1;
    for (unsigned length = 1; length <= 16; length++) {
        code *= 2;
        c->offset[length] = (int)n - (int)code;
        for (unsigned i = 0; i < s[length]; i++, n++, code++) {
            const unsigned symbol = c->symbol[n] = s[17 + n];

            if (!ac && symbol <= MOST_DC) {
                c->code[symbol] = (uint16_t)code;
                c->length[symbol] = (unsigned char)length;
            }
            for (unsigned k = 0; length <= FAST && k < 1u << (FAST - length); k++)
                c->fast[(code << (FAST - length)) + k] = step_of(ac, length, symbol);
        }
        c->limit[length] = code << (16 - length);
    }
    for (unsigned bits = 0; ac && bits < 1u << MANY; bits++)
        c->many[bits] = many_of(c, bits);
    return n;
}

iip_tiff_codes_t *iip_tiff_codes_create(apr_pool_t *p)
{
    return apr_pcalloc(p, sizeof(iip_tiff_codes_t));
}

void iip_tiff_codes_clear(iip_tiff_codes_t *t)
{
    for (int i = 0; i < 4; i++)
        t->dc[i].there = t->ac[i].there = 0;
}

int iip_tiff_codes_read(iip_tiff_codes_t *t, const unsigned char *p, const iip_tiff_jpeg *j)
{
    for (size_t at = 2; at < j->at;) {
        const unsigned char *s, *end;

        if (p[at + 1] == 0xFF) { /* a fill byte: the marker behind it may be the last of all bytes */
            at++;
            continue;
        }
        s = p + at + 4;
        end = p + at + 2 + (p[at + 2] << 8 | p[at + 3]);
        if (p[at + 1] == DRI)
            return 0;
        while (p[at + 1] == DHT && s < end)
            s += 17 + read_coding((*s >> 4 ? t->ac : t->dc) + (*s & 3), *s >> 4, s);
        at = (size_t)(end - p);
    }
    return 1;
}

/* ---- bits in, those that come next on top ---- */

typedef struct {
    const unsigned char *start, *p;
    uint64_t bits;
    int n; /* of them that count; the rest is what will be there again */
} reader;

INLINE uint64_t load(const unsigned char *p)
{
    uint64_t x;

    memcpy(&x, p, 8);
    return be64toh(x);
}

/* 56 bits at least. Without a branch: when it is due cannot be foreseen. */
INLINE void fill(reader *r)
{
    r->bits |= load(r->p) >> r->n;
    r->p += (63 - r->n) >> 3;
    r->n |= 56;
}

static inline size_t position(const reader *r)
{
    return (size_t)(r->p - r->start) * 8 - (size_t)r->n;
}

static __attribute__((noinline)) step longer(const coding *c, int ac, uint64_t bits)
{
    const uint32_t next = (uint32_t)(bits >> 48);

    if (next < c->limit[FAST]) /* a short one, of no meaning */
        return 0;
    for (unsigned length = FAST + 1; length <= 16; length++)
        if (next < c->limit[length])
            return step_of(ac, length, c->symbol[(int)(next >> (16 - length)) + c->offset[length]]);
    return 0;
}

/* The next code, still there. */
INLINE step look(const reader *r, const coding *c, int ac)
{
    const step s = c->fast[r->bits >> (64 - FAST)];

    return s ? s : longer(c, ac, r->bits);
}

INLINE void skip(reader *r, int n)
{
    r->bits <<= n;
    r->n -= n;
}

/* The data up to the next marker without what is stuffed between it, in bits; SLACK bytes of noughts behind it. */
#define SLACK 512 /* more than a block takes */
static size_t unstuff(unsigned char *to, const unsigned char *p, const unsigned char *end)
{
    unsigned char *start = to;

    while (p < end) {
        const unsigned char *ff = memchr(p, 0xFF, (size_t)(end - p));
        const size_t n = (size_t)((ff ? ff : end) - p);

        memcpy(to, p, n);
        to += n;
        if (!ff || end - ff < 2 || ff[1] != 0)
            break;
        *to++ = 0xFF;
        p = ff + 2;
    }
    memset(to, 0, SLACK);
    return (size_t)(to - start) * 8;
}

/* ---- bits out ---- */

typedef struct {
    unsigned char *p;
    uint64_t bits;
    int n; /* fewer than 32 */
} writer;

static inline unsigned char *put_byte(unsigned char *p, unsigned c)
{
    *p++ = (unsigned char)c;
    if (c == 0xFF)
        *p++ = 0;
    return p;
}

static inline void put(writer *w, uint32_t v, int n)
{
    uint32_t x;

    w->bits = w->bits << n | v;
    if ((w->n += n) < 32)
        return;
    w->n -= 32;
    x = (uint32_t)(w->bits >> w->n);
    if ((((x & 0x7F7F7F7Fu) + 0x01010101u) & x & 0x80808080u) != 0) { /* a byte of ones */
        for (int i = 24; i >= 0; i -= 8)
            w->p = put_byte(w->p, x >> i & 0xFF);
        return;
    }
    x = htobe32(x);
    memcpy(w->p, &x, 4);
    w->p += 4;
}

/* What lies between two positions. */
static void put_range(writer *w, const unsigned char *start, size_t from, size_t to)
{
    for (int n; from < to; from += (size_t)n) {
        n = to - from < 32 ? (int)(to - from) : 32;
        put(w, (uint32_t)(load(start + from / 8) << (from & 7) >> (64 - n)), n);
    }
}

static void put_rest(writer *w)
{
    const int pad = -w->n & 7;

    put(w, (1u << pad) - 1, pad);
    while (w->n > 0)
        w->p = put_byte(w->p, (unsigned)(w->bits >> (w->n -= 8)) & 0xFF);
}

static int put_difference(writer *w, const coding *c, int d)
{
    const int size = d ? 32 - __builtin_clz((unsigned)(d < 0 ? -d : d)) : 0;

    if (size > MOST_DC || !c->length[size])
        return 0;
    put(w, c->code[size], c->length[size]);
    put(w, (uint32_t)(d < 0 ? d - 1 : d) & ((1u << size) - 1), size);
    return 1;
}

/* ---- blocks ---- */

/* Of a component; the predictions of what is read and of what is written. */
typedef struct {
    const coding *dc, *ac;
    int blocks, read, written;
} component;

/* From coefficient k on there are so many, or the end. */
INLINE int inside(int k, step s)
{
    return s && k + (s & (END - 1)) + (s / END & 1) <= 64;
}

/* The DC difference of a block that is not kept: 0 if there is none. */
INLINE int skip_dc(reader *r, component *c)
{
    step s;
    int size;

    fill(r);
    s = look(r, c->dc, 0);
    size = s & 0xFF;
    if (!s || size > MOST_DC)
        return 0;
    if (size) {
        const int d = (int)(r->bits >> (64 - (s >> 8)) & ((1u << size) - 1));

        c->read += d >> (size - 1) ? d : d + 1 - (1 << size);
    }
    skip(r, s >> 8);
    return c->read == (int16_t)c->read;
}

INLINE int skip_ac(reader *r, const component *c)
{
    step s = 0;

    for (int k = 1; k < 64 && !(s & END); k += s & (END - 1)) {
        fill(r);
        s = c->ac->many[r->bits >> (64 - MANY)];
        if (!inside(k, s) && !inside(k, s = look(r, c->ac, 1))) /* what follows the block is none of it */
            return 0;
        skip(r, s >> 8);
    }
    return 1;
}

/* kept: *from is where what is not written yet begins. A difference that is another now is written here. */
static int block(reader *r, writer *w, component *c, int kept, size_t *from)
{
    const size_t start = position(r);
    const int was = c->read;

    if (!skip_dc(r, c))
        return 0;
    if (kept && c->written != was) {
        put_range(w, r->start, *from, start);
        if (!put_difference(w, c->dc, c->read - c->written))
            return 0;
        *from = position(r);
    }
    if (kept)
        c->written = c->read;
    return skip_ac(r, c);
}

/* Which tables the components of the one scan use; 0: it is no scan of all of them. */
static int scan(const iip_tiff_codes_t *t, const iip_tiff_jpeg *j, const unsigned char *in, size_t len, component *c)
{
    const unsigned char *s = in + j->at + 4;
    const size_t length = 6 + 2 * (size_t)j->comps;
    int blocks = 0;

    if (len < j->at + 2 + length || (size_t)(s[-2] << 8 | s[-1]) != length || s[0] != j->comps)
        return 0;
    for (int i = 0; i < j->comps; i++) {
        const unsigned char *one = s + 1 + 2 * i;

        if (one[0] != j->id[i] || (one[1] & 0xCC))
            return 0;
        c[i] = (component){t->dc + (one[1] >> 4), t->ac + (one[1] & 3), j->comps > 1 ? j->sub_x[i] * j->sub_y[i] : 1, 0,
                           0};
        blocks += c[i].blocks;
        if (!c[i].dc->there || !c[i].ac->there)
            return 0;
    }
    s += 1 + 2 * j->comps;
    return blocks <= MOST_MCU && s[0] == 0 && s[1] == 63 && s[2] == 0;
}

size_t iip_tiff_cut(const iip_tiff_codes_t *t, const iip_tiff_jpeg *j, const unsigned char *in, size_t len, int w,
                    int h, unsigned char *out)
{
    const int mixed = j->comps > 1, side_x = 8 * (mixed ? j->sub_x[0] : 1), side_y = 8 * (mixed ? j->sub_y[0] : 1);
    const int across = (j->w + side_x - 1) / side_x, kept = (w + side_x - 1) / side_x, down = (h + side_y - 1) / side_y;
    unsigned char *plain = out + 2 * len + 64 * ((size_t)h / 8 + 1); /* below: what is written */
    component c[4];
    reader r = {.start = plain, .p = plain};
    writer to = {out, 0, 0};
    size_t from = 0, all;

    if (j->comps > 4 || !scan(t, j, in, len, c))
        return 0;
    all = unstuff(plain, in + j->at + 8 + 2 * j->comps, in + len);
    for (int y = 0; y < down; y++)
        for (int x = 0; x < (y + 1 < down ? across : kept); x++) {
            if (x == kept)
                put_range(&to, plain, from, position(&r));
            for (int i = 0; i < j->comps; i++)
                for (int b = 0; b < c[i].blocks; b++)
                    if (!block(&r, &to, &c[i], x < kept, &from) || position(&r) > all)
                        return 0;
            if (x >= kept)
                from = position(&r);
        }
    put_range(&to, plain, from, position(&r));
    put_rest(&to);
    memcpy(to.p, "\xFF\xD9", 2);
    return (size_t)(to.p + 2 - out);
}
