/* SPDX-License-Identifier: Apache-2.0
 * EXIF and XMP, as far as a picture server needs them: what orientation and resolution a block gives, the block an
 * answer gets, and an orientation that is no longer true. EXIF blocks are built as TIFF files are (TIFF 6.0, section 2;
 * EXIF 2.32). Every offset is checked against the block: it comes from any file. */
#include "codec/codec.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TAG_DESCRIPTION = 0x10e,
    TAG_MAKE = 0x10f,
    TAG_MODEL = 0x110,
    TAG_ORIENTATION = 0x112,
    TAG_X_RESOLUTION = 0x11a,
    TAG_Y_RESOLUTION = 0x11b,
    TAG_UNIT = 0x128,
    TAG_SOFTWARE = 0x131,
    TAG_DATE = 0x132,
    TAG_ARTIST = 0x13b,
    TAG_COPYRIGHT = 0x8298,
    TAG_EXIF = 0x8769,
    TAG_GPS = 0x8825,
};
enum { BYTE = 1, ASCII, SHORT, LONG, RATIONAL };
enum { ENTRY = 12 };

typedef struct {
    const unsigned char *p;
    size_t n;
    int little;
} block;

static unsigned get16(const block *b, size_t at)
{
    const unsigned char *p = b->p + at;

    return b->little ? p[0] | (unsigned)p[1] << 8 : (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const block *b, size_t at)
{
    uint32_t first = get16(b, at), second = get16(b, at + 2);

    return b->little ? first | second << 16 : first << 16 | second;
}

static int begin(block *b, const unsigned char *p, size_t n)
{
    b->p = p;
    b->n = n;
    if (n < 8)
        return 0;
    b->little = p[0] == 'I';
    return (memcmp(p, "II", 2) == 0 || memcmp(p, "MM", 2) == 0) && get16(b, 2) == 42;
}

/* Where the entry's value or value offset lies; 0 if the first directory has no single value of this type under the
 * tag. */
static size_t find(const block *b, unsigned tag, unsigned type)
{
    size_t at = get32(b, 4), entries;

    if (at > b->n - 2)
        return 0;
    entries = get16(b, at);
    at += 2;
    for (; entries > 0 && b->n - at >= ENTRY; entries--, at += ENTRY)
        if (get16(b, at) == tag)
            return get16(b, at + 2) == type && get32(b, at + 4) == 1 ? at + 8 : 0;
    return 0;
}

int iip_exif_orientation(const unsigned char *p, size_t n)
{
    block b;
    size_t at;
    unsigned o;

    if (!begin(&b, p, n) || (at = find(&b, TAG_ORIENTATION, SHORT)) == 0)
        return 1;
    o = get16(&b, at);
    return o >= 1 && o <= 8 ? (int)o : 1;
}

static double rational(const block *b, unsigned tag)
{
    size_t at = find(b, tag, RATIONAL), value;

    if (at == 0)
        return 0;
    value = get32(b, at);
    if (value > b->n - 8 || get32(b, value + 4) == 0)
        return 0;
    return (double)get32(b, value) / get32(b, value + 4);
}

void iip_exif_resolution(const unsigned char *p, size_t n, double *x, double *y)
{
    block b;
    size_t at;
    unsigned unit = 2;
    double rx, ry;

    if (!begin(&b, p, n))
        return;
    if ((at = find(&b, TAG_UNIT, SHORT)) != 0)
        unit = get16(&b, at);
    rx = rational(&b, TAG_X_RESOLUTION);
    ry = rational(&b, TAG_Y_RESOLUTION);
    if (rx <= 0 || ry <= 0 || (unit != 2 && unit != 3)) /* inch, centimetre */
        return;
    *x = unit == 2 ? rx / 2.54 : rx;
    *y = unit == 2 ? ry / 2.54 : ry;
}

const char *iip_exif_text(const void *exif, size_t n, unsigned tag, size_t *len)
{
    block b;
    size_t at, end, entries;

    if (!begin(&b, exif, n) || (at = get32(&b, 4)) > n - 2)
        return NULL;
    entries = get16(&b, at);
    for (at += 2; entries > 0 && n - at >= ENTRY; entries--, at += ENTRY) {
        size_t count = get32(&b, at + 4), value = count > 4 ? get32(&b, at + 8) : at + 8;

        if (get16(&b, at) != tag)
            continue;
        if (get16(&b, at + 2) != ASCII || value > n || count > n - value)
            return NULL;
        for (end = 0; end < count && b.p[value + end];)
            end++;
        *len = end;
        return end ? (const char *)b.p + value : NULL;
    }
    return NULL;
}

/* ---- the block of an answer ---- */

enum { MOST_FIELDS = 64, MOST_BYTES = 60000 }; /* of a directory; of all values: a segment of JPEG holds them */

typedef struct {
    unsigned tag, type;
    uint32_t count;
    const void *value; /* in the order of the block's bytes */
    size_t size;
} field;

typedef struct {
    field f[MOST_FIELDS]; /* by rising tags */
    int n;
} directory;

/* What an answer says: the picture's own directory, and two that hang on it. */
typedef struct {
    directory main, exif, gps;
    size_t bytes; /* of values */
    int little;
    unsigned char number[3][8]; /* resolution */
} draft;

/* No directory has a tag twice: the first one counts. */
static void add(draft *d, directory *to, const field *f)
{
    int at = to->n;

    if (to->n == MOST_FIELDS || f->size > MOST_BYTES - d->bytes)
        return;
    while (at > 0 && to->f[at - 1].tag > f->tag)
        at--;
    if (at > 0 && to->f[at - 1].tag == f->tag)
        return;
    memmove(to->f + at + 1, to->f + at, (size_t)(to->n - at) * sizeof *f);
    to->f[at] = *f;
    to->n++;
    d->bytes += f->size;
}

static int one_of(unsigned tag, const unsigned *tags)
{
    while (*tags && *tags != tag)
        tags++;
    return *tags != 0;
}

/* Of the main directory: texts. All else there is about the pixels of another picture. */
static const unsigned kept[] = {TAG_DESCRIPTION, TAG_MAKE, TAG_MODEL, TAG_SOFTWARE, TAG_DATE, TAG_ARTIST,      0x8298,
                                0x9c9b,          0x9c9c,   0x9c9d,    0x9c9e,       0x9c9f,   /* Windows' */ 0};
/* Of the EXIF directory: a maker's note has offsets of its own, colours and sizes are the answer's, interoperability.
 */
static const unsigned dropped[] = {0x927c, 0xa001, 0xa002, 0xa003, 0xa005, 0};

static const unsigned char sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8}; /* of values, by type */

/* The fields of a directory that are there whole. */
static void gather(draft *d, directory *to, const block *b, size_t at, const unsigned *only, const unsigned * not )
{
    size_t entries;

    if (at < 8 || at > b->n - 2)
        return;
    entries = get16(b, at);
    for (at += 2; entries > 0 && b->n - at >= ENTRY; entries--, at += ENTRY) {
        field f = {get16(b, at), get16(b, at + 2), get32(b, at + 4), b->p + at + 8, 0};
        size_t offset = get32(b, at + 8);

        if (f.type >= sizeof sizes || f.type == 0 || f.count == 0 || f.count > b->n)
            continue;
        f.size = (size_t)f.count * sizes[f.type];
        if (f.size > 4 && (offset > b->n || f.size > b->n - offset))
            continue;
        if (f.size > 4)
            f.value = b->p + offset;
        if ((!only || one_of(f.tag, only)) && (!not || !one_of(f.tag, not )))
            add(d, to, &f);
    }
}

/* Where a pointer to a directory points, 0 if there is none. */
static size_t pointed(const block *b, unsigned tag)
{
    size_t at = find(b, tag, LONG);

    return at ? get32(b, at) : 0;
}

static void put16(unsigned char *p, int little, unsigned v)
{
    p[!little] = (unsigned char)v;
    p[little] = (unsigned char)(v >> 8);
}

static void put32(unsigned char *p, int little, uint32_t v)
{
    put16(p + (little ? 0 : 2), little, v & 0xffff);
    put16(p + (little ? 2 : 0), little, v >> 16);
}

/* Dots an inch, to the thousandth. */
static void add_resolution(draft *d, double x, double y)
{
    const double dpi[] = {floor(x * 2540 + 0.5), floor(y * 2540 + 0.5)};

    if (!(dpi[0] >= 1 && dpi[1] >= 1 && dpi[0] < UINT32_MAX && dpi[1] < UINT32_MAX))
        return;
    for (int i = 0; i < 2; i++) {
        put32(d->number[i], d->little, (uint32_t)dpi[i]);
        put32(d->number[i] + 4, d->little, 1000);
        add(d, &d->main, &(field){TAG_X_RESOLUTION + (unsigned)i, RATIONAL, 1, d->number[i], 8});
    }
    put16(d->number[2], d->little, 2);
    add(d, &d->main, &(field){TAG_UNIT, SHORT, 1, d->number[2], 2});
}

static size_t directory_size(const directory *d)
{
    size_t n = 2 + ENTRY * (size_t)d->n + 4;

    for (int i = 0; i < d->n; i++)
        n += d->f[i].size > 4 ? (d->f[i].size + 1) & ~(size_t)1 : 0;
    return n;
}

/* At `at` of the block; the end of it. */
static size_t put_directory(unsigned char *p, size_t at, const directory *d, int little)
{
    size_t value = at + 2 + ENTRY * (size_t)d->n + 4;

    put16(p + at, little, (unsigned)d->n);
    at += 2;
    for (int i = 0; i < d->n; i++, at += ENTRY) {
        const field *f = &d->f[i];

        put16(p + at, little, f->tag);
        put16(p + at + 2, little, f->type);
        put32(p + at + 4, little, f->count);
        if (f->size > 4) {
            put32(p + at + 8, little, (uint32_t)value);
            memcpy(p + value, f->value, f->size);
            value += (f->size + 1) & ~(size_t)1;
        } else {
            memcpy(p + at + 8, f->value, f->size);
        }
    }
    return value;
}

static iip_status put_draft(draft *d, const void **out, size_t *len, apr_pool_t *p, iip_error *e)
{
    unsigned char place[2][4], *mem;
    const directory *hang[] = {&d->exif, &d->gps};
    size_t n = 8, at;

    *len = 0;
    for (int i = 0; i < 2; i++)
        if (hang[i]->n) /* where they will be is known once all of main is */
            add(d, &d->main, &(field){i ? TAG_GPS : TAG_EXIF, LONG, 1, place[i], 4});
    if (!d->main.n)
        return IIP_OK;
    n += directory_size(&d->main);
    for (int i = 0; i < 2; i++)
        if (hang[i]->n) {
            put32(place[i], d->little, (uint32_t)n);
            n += directory_size(hang[i]);
        }
    if (!(mem = iip_codec_alloc(n, p, e)))
        return e->status;
    memset(mem, 0, n);
    memcpy(mem, d->little ? "II" : "MM", 2);
    put16(mem + 2, d->little, 42);
    put32(mem + 4, d->little, 8);
    at = put_directory(mem, 8, &d->main, d->little);
    for (int i = 0; i < 2; i++)
        if (hang[i]->n)
            at = put_directory(mem, at, hang[i], d->little);
    *out = mem;
    *len = n;
    return IIP_OK;
}

/* n numbers of so many bytes each, end for end. */
static void turn(unsigned char *p, size_t n, size_t size)
{
    for (; n > 0; n--, p += size)
        for (size_t i = 0; i < size / 2; i++) {
            unsigned char c = p[i];

            p[i] = p[size - 1 - i];
            p[size - 1 - i] = c;
        }
}

/* A directory as put_directory() writes it, with those that hang on it. */
static void turn_directory(unsigned char *p, size_t n, size_t at)
{
    const block b = {p, n, 0};
    size_t entries = get16(&b, at);

    turn(p + at, 1, 2);
    for (at += 2; entries > 0; entries--, at += ENTRY) {
        const unsigned tag = get16(&b, at), type = get16(&b, at + 2);
        const uint32_t count = get32(&b, at + 4);
        const int fraction = type == RATIONAL || type == RATIONAL + 5; /* two numbers a value */
        const size_t size = sizes[type], all = count * size;
        size_t value = at + 8;

        if (all > 4) {
            value = get32(&b, at + 8);
            turn(p + at + 8, 1, 4);
        }
        if (tag == TAG_EXIF || tag == TAG_GPS)
            turn_directory(p, n, get32(&b, at + 8));
        turn(p + at, 2, 2);
        turn(p + at + 4, 1, 4);
        turn(p + value, fraction ? 2 * count : count, fraction ? size / 2 : size);
    }
}

void iip_exif_little(void *exif, size_t n)
{
    unsigned char *p = exif;

    if (p[0] == 'I')
        return;
    turn_directory(p, n, 8);
    memcpy(p, "II*\0\10\0\0", 8);
}

size_t iip_exif_hanging(const void *exif, size_t n, unsigned tag)
{
    block b;

    return begin(&b, exif, n) ? pointed(&b, tag) : 0;
}

static void add_text(draft *d, unsigned tag, const char *text, size_t n)
{
    /* an empty text or one without its NUL is none */
    if (n > 1 && n < UINT32_MAX && !text[n - 1])
        add(d, &d->main, &(field){tag, ASCII, (uint32_t)n, text, n});
}

iip_status iip_exif_answer(const void *exif, size_t n, double res_x, double res_y, const char *copyright,
                           const void **out, size_t *len, apr_pool_t *p, iip_error *e)
{
    draft *d = calloc(1, sizeof *d);
    iip_status rv;
    block b;

    if (!d)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for EXIF");
    d->little = 1;
    if (begin(&b, exif, n))
        d->little = b.little;
    else
        n = 0;
    if (copyright)
        add_text(d, TAG_COPYRIGHT, copyright, strlen(copyright) + 1);
    add_resolution(d, res_x, res_y);
    if (n) {
        gather(d, &d->main, &b, get32(&b, 4), kept, NULL);
        gather(d, &d->exif, &b, pointed(&b, TAG_EXIF), NULL, dropped);
        gather(d, &d->gps, &b, pointed(&b, TAG_GPS), NULL, NULL);
    }
    rv = put_draft(d, out, len, p, e);
    free(d);
    return rv;
}

iip_status iip_exif_of_texts(const iip_exif_field *text, int count, const void **out, size_t *len, apr_pool_t *p,
                             iip_error *e)
{
    draft *d = calloc(1, sizeof *d);
    iip_status rv;

    if (!d)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for EXIF");
    d->little = 1;
    for (int i = 0; i < count; i++)
        add_text(d, text[i].tag, text[i].text, text[i].len);
    rv = put_draft(d, out, len, p, e);
    free(d);
    return rv;
}

/* ---- XMP ---- */

void iip_xmp_upright(void *xmp, size_t n)
{
    static const char name[] = "tiff:Orientation";
    const size_t len = sizeof name - 1;
    char *p = xmp, *end;

    if (n == 0)
        return;
    for (end = p + n; (p = memchr(p, 't', (size_t)(end - p))) != NULL; p++) {
        char *at = p + len;

        if ((size_t)(end - p) <= len || memcmp(p, name, len) != 0)
            continue;
        /* ="6", = '6', >6< */
        while (at < end && strchr(" \t\r\n=\"'>", *at) && *at)
            at++;
        if (at < end && *at >= '2' && *at <= '8')
            *at = '1';
    }
}
