/* SPDX-License-Identifier: Apache-2.0
 * TIFF: which directories are pages of their own, and which are smaller copies of one.
 *
 * A level has the shape of its page, the same pixels and less of them. It is one because NewSubfileType says so,
 * because it is a SubIFD, or (older writers) because both are tiled and it follows in the chain. All else is a page:
 * labels, overviews of another shape, the plain next picture. */
#include "codec/tiff_dir.h"
#include "cache/cache.h"
#include <apr_strings.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#define ROWS(a)         (sizeof(a) / sizeof *(a))
#define FAIL(f, s, ...) ((f)->bad = iip_fail((f)->e, s, 0, __VA_ARGS__))

#define CELL      (2u << 20) /* bytes of a cell of strips */
#define TALL      (8u << 20) /* compressed strips of more are decoded by rows */
#define TALL_MANY (1 << 20)  /* so many of them at most: libtiff keeps their places in memory */

#define JP2_BITS 0x1FFFE /* 1 to 16 */

static const iip_tiff_codec codecs[] = {
    {TIFF_NONE, "uncompressed", 0, 0, .2},
    {2, "CCITT modified Huffman", TIFF_NOISY, 1u << 1, .5},
    {3, "CCITT group 3", TIFF_NOISY, 1u << 1, .5},
    {4, "CCITT group 4", TIFF_NOISY, 1u << 1, .5},
    {5, "LZW", 0, 0, 1},
    {TIFF_OLD_JPEG, "old-style JPEG", TIFF_OURS, 1u << 8, 1},
    {TIFF_JPEG, "JPEG", 0, 1u << 8, 1},
    {8, "deflate", 0, 0, 1.2},
    {32766, "NeXT", 0, 1u << 2, .3},
    {TIFF_CCITT_WORDS, "CCITT modified Huffman on words", TIFF_WHOLE | TIFF_OURS, 1u << 1, .5},
    {32773, "PackBits", 0, 0, .3},
    {TIFF_THUNDERSCAN, "ThunderScan", TIFF_WHOLE | TIFF_OURS, 1u << 4, .3},
    {TIFF_PIXARLOG, "Pixar log", TIFF_WHOLE | TIFF_OURS, 1u << 8 | 1u << 16, 1.5},
    {32946, "deflate", 0, 0, 1.2},
    {34661, "JBIG", TIFF_WHOLE, 1u << 1, 2},
    {TIFF_SGILOG, "SGILog", TIFF_WHOLE, 0, 1.5},
    {TIFF_SGILOG24, "SGILog24", TIFF_WHOLE, 0, 1.5},
    {TIFF_JP2_YCC, "JPEG 2000", TIFF_WHOLE | TIFF_OURS, JP2_BITS, 8},
    {TIFF_JP2_RGB, "JPEG 2000", TIFF_WHOLE | TIFF_OURS, JP2_BITS, 8},
    {TIFF_JP2, "JPEG 2000", TIFF_WHOLE | TIFF_OURS, JP2_BITS, 8},
    {34887, "LERC", TIFF_WHOLE, 0, 1},
    {34925, "LZMA", 0, 0, 6},
    {50000, "ZSTD", 0, 0, .7},
    {TIFF_WEBP, "WebP", TIFF_WHOLE, 1u << 8, 2},
};

const iip_tiff_codec *iip_tiff_codec_find(int code)
{
    for (size_t i = 0; i < ROWS(codecs); i++)
        if (codecs[i].code == code)
            return &codecs[i];
    return NULL;
}

static iip_status codec_check(iip_tiff_file *f, const iip_tiff_dir *d)
{
    const iip_tiff_codec *c = iip_tiff_codec_find(d->compression);
    const int log = d->photometric == TIFF_LOGL || d->photometric == TIFF_LOGLUV;

    if (!c)
        return FAIL(f, IIP_E_FORMAT, "compression %d", d->compression);
    if (!(c->flags & TIFF_OURS) && !TIFFIsCODECConfigured((uint16_t)c->code))
        return FAIL(f, IIP_E_FORMAT, "this libtiff has no %s", c->name);
    if (log != (c->code == TIFF_SGILOG || c->code == TIFF_SGILOG24))
        return FAIL(f, IIP_E_FORMAT, "%s with photometric interpretation %d", c->name, d->photometric);
    if (c->bits && (d->bits > 31 || !(c->bits & 1u << d->bits)))
        return FAIL(f, IIP_E_FORMAT, "%s of %d bits", c->name, d->bits);
    if (iip_tiff_is_jp2(d) && d->format != 1)
        return FAIL(f, IIP_E_FORMAT, "%s of sample format %d", c->name, d->format);
    /* these know rows of one sample only, or of colours */
    if (d->bits < 8 && c->bits && !iip_tiff_is_jp2(d) && d->samples > 1 && !d->planar)
        return FAIL(f, IIP_E_FORMAT, "%s of %d samples", c->name, d->samples);
    if (c->code == TIFF_WEBP && (d->planar || (d->samples != 3 && d->samples != 4)))
        return FAIL(f, IIP_E_FORMAT, "%s of %d samples", c->name, d->samples);
    if (c->code == TIFF_JPEG && !d->planar && d->samples > 4)
        return FAIL(f, IIP_E_FORMAT, "%s of %d samples", c->name, d->samples);
    return IIP_OK;
}

/* What the chain is sorted by; kept of all directories only while it is walked. */
typedef struct {
    uint64_t at;
    int64_t w, h;
    iip_tiff_form form;
    unsigned subtype;
    int tiled, ojpeg, good; /* good: it can be read */
    int page;               /* index of the directory it is a level of; its own: a page; -1: neither */
    size_t size, to;        /* of a page: its directories, and where the next of them goes */
} node;

/* What is kept of a chain: where the directories of each page are. Those of page i are v[v[i]] to v[v[i + 1] - 1], its
 * own first, then its levels as they follow each other. */
typedef struct {
    int pages;
    uint64_t v[];
} chain_index;

static iip_cache_t *indexes;

void iip_tiff_indexes(iip_cache_t *kept)
{
    indexes = kept;
}

/* format: of the page, for its smaller copies. libvips (8.14 at least) leaves the tag out of them, and floats or signed
 * numbers are meant all the same. */
static iip_status inspect(iip_tiff_file *f, iip_tiff_dir *d, iip_tiff_form *m, const iip_tiff_entry *format)
{
    if (!d->tag[TAG_FORMAT].count && iip_tiff_uint(f, &d->tag[TAG_SUBTYPE], 0, 0) & TIFF_REDUCED)
        d->tag[TAG_FORMAT] = *format;
    if (iip_tiff_dir_read(f, d) == IIP_OK && iip_tiff_form_shape(m, f, d) == IIP_OK)
        codec_check(f, d);
    return f->bad;
}

static int same_pixels(const iip_tiff_form *a, const iip_tiff_form *b)
{
    return a->bands == b->bands && a->sample == b->sample && a->space == b->space && a->alpha == b->alpha;
}

/* The same picture, smaller: sides may each be a pixel off the exact shape, whichever way they were rounded. */
static int is_reduced(int64_t w, int64_t h, int64_t of_w, int64_t of_h)
{
    __int128 skew = (__int128)w * of_h - (__int128)h * of_w;

    return w <= of_w && h <= of_h && (w < of_w || h < of_h) && (skew < 0 ? -skew : skew) <= (__int128)of_w + of_h;
}

static int level_of(const node *page, const node *n)
{
    return page->good && n->good && !page->ojpeg && !n->ojpeg && same_pixels(&page->form, &n->form) &&
           is_reduced(n->w, n->h, page->w, page->h);
}

static iip_status chain(iip_tiff_file *f, node **list, int *count)
{
    iip_tiff_dir d;
    iip_tiff_entry format = {0}; /* of the latest page */
    uint64_t mark = 0;           /* a place passed before, further on each time: in a loop it comes again (Brent) */
    int n = 0, room = 0;

    for (uint64_t at = f->first; at; at = d.next) {
        node *v;

        if (n && at == mark)
            return FAIL(f, IIP_E_FORMAT, "the directories form a loop");
        if (!(n & (n - 1)))
            mark = at;
        if (n == IIP_TIFF_DIRS)
            return FAIL(f, IIP_E_FORMAT, "more than %d directories", n);
        if (n == room) {
            node *more = realloc(*list, (size_t)(room = room ? 2 * room : 16) * sizeof *more);

            if (!more)
                return FAIL(f, IIP_E_MEMORY, "%d directories", room);
            *list = more;
        }
        if (iip_tiff_dir_find(f, at, &d) != IIP_OK)
            return f->bad;
        v = &(*list)[n];
        memset(v, 0, sizeof *v);
        v->good = inspect(f, &d, &v->form, &format) == IIP_OK;
        if (f->bad == IIP_E_FORMAT || f->bad == IIP_E_CORRUPT)
            f->bad = IIP_OK; /* its own trouble: whoever asks for that page hears of it */
        if (f->bad)
            return f->bad;
        v->at = at;
        v->w = d.w;
        v->h = d.h;
        v->subtype = d.subtype;
        if (!(d.subtype & TIFF_REDUCED))
            format = d.tag[TAG_FORMAT];
        v->tiled = d.tiled;
        v->ojpeg = d.ojpeg;
        *count = ++n;
    }
    return IIP_OK;
}

static int page_of_reduced(const node *v, int n, int i)
{
    for (int k = i - 1; k >= 0; k--)
        if (v[k].page == k && level_of(&v[k], &v[i]))
            return k;
    for (int k = i + 1; k < n; k++)
        if (v[k].page == k && level_of(&v[k], &v[i]))
            return k;
    return i;
}

static void sort_out(node *v, int n)
{
    int tiled = -1, last = -1; /* latest tiled page, and its smallest level without the mark */

    for (int i = 0; i < n; i++) {
        v[i].page = -1;
        if ((v[i].subtype & TIFF_MASK && i) || v[i].subtype & TIFF_REDUCED)
            continue;
        if (tiled >= 0 && v[i].tiled && !(v[i].subtype & TIFF_PAGE) && level_of(&v[tiled], &v[i]) &&
            is_reduced(v[i].w, v[i].h, v[last].w, v[last].h)) {
            v[i].page = tiled;
            last = i;
            continue;
        }
        v[i].page = i;
        if (v[i].tiled)
            tiled = last = i;
    }
    for (int i = 0; i < n; i++)
        if (v[i].subtype & TIFF_REDUCED && !(v[i].subtype & TIFF_MASK && i))
            v[i].page = page_of_reduced(v, n, i);
}

static iip_status level_cells(iip_tiff_file *f, iip_tiff_level *l)
{
    const iip_tiff_dir *d = &l->dir;
    const iip_tiff_form *m = &l->form;
    const int whole = m->clumps || (iip_tiff_codec_find(d->compression)->flags & TIFF_WHOLE) != 0;
    const size_t pixel = (size_t)m->bands * iip_sample_size(m->sample), row = (size_t)d->w * pixel;
    const size_t planes = d->planar ? (size_t)m->in : 1;
    int64_t rows;

    l->cell = (iip_level){d->w, d->h, d->block_w, d->block_h};
    l->block = iip_tiff_form_size(m, d, d->block_h);
    if (d->tiled) {
        if ((__int128)d->block_w * d->block_h * (int64_t)pixel > IIP_MAX_CELL || l->block > IIP_MAX_CELL / planes)
            return FAIL(f, IIP_E_FORMAT, "tiles of %" PRId64 " by %" PRId64, d->block_w, d->block_h);
        return IIP_OK;
    }
    if (d->ojpeg)
        return IIP_OK;
    if (row > IIP_MAX_CELL || iip_tiff_form_row(m, d) > IIP_MAX_CELL / planes)
        return FAIL(f, IIP_E_FORMAT, "rows of %zu bytes", row);
    rows = (int64_t)(CELL / row);
    if (rows < 1)
        rows = 1;
    if (rows > d->block_h)
        rows -= rows % d->block_h;
    l->cell.tile_h = rows < d->h ? rows : d->h;
    l->by_rows = !whole && d->compression != TIFF_NONE && l->block > TALL;
    if (l->by_rows && d->per_plane > TALL_MANY)
        return FAIL(f, IIP_E_FORMAT, "%" PRId64 " strips of %zu bytes", d->per_plane, l->block);
    if (!l->by_rows && (whole || d->compression != TIFF_NONE) && l->block > IIP_MAX_CELL / planes)
        return FAIL(f, IIP_E_FORMAT, "strips of %zu bytes", l->block);
    return IIP_OK;
}

/* Reads a directory as a level. page: what it is a level of; NULL: it is the page itself, and must be good. */
static iip_status level_read(iip_tiff_file *f, uint64_t at, iip_tiff_level *l, const iip_tiff_level *page,
                             apr_pool_t *p)
{
    static const iip_tiff_entry none;

    memset(l, 0, sizeof *l);
    if (iip_tiff_dir_find(f, at, &l->dir) != IIP_OK)
        return f->bad;
    if (inspect(f, &l->dir, &l->form, page ? &page->dir.tag[TAG_FORMAT] : &none) == IIP_OK &&
        iip_tiff_form_table(&l->form, f, &l->dir, p) == IIP_OK)
        level_cells(f, l);
    if (page && f->bad == IIP_E_FORMAT) {
        f->bad = IIP_OK;
        l->dir.w = 0; /* no level */
    }
    return f->bad;
}

/* Keeps the levels in order of size; those of equal size once. */
static iip_status level_put(iip_tiff_file *f, iip_tiff_level *v, int *n, const iip_tiff_level *l)
{
    int i = *n;

    if (!l->dir.w || l->dir.ojpeg || v[0].dir.ojpeg || !same_pixels(&v[0].form, &l->form) ||
        !is_reduced(l->dir.w, l->dir.h, v[0].dir.w, v[0].dir.h))
        return IIP_OK;
    while (i > 1 && v[i - 1].dir.w <= l->dir.w && v[i - 1].dir.h <= l->dir.h)
        i--;
    if (i < *n && v[i].dir.w == l->dir.w && v[i].dir.h == l->dir.h)
        return IIP_OK;
    if (!is_reduced(l->dir.w, l->dir.h, v[i - 1].dir.w, v[i - 1].dir.h))
        return IIP_OK; /* narrower but higher than another, by the rounding of its writer */
    if (*n == IIP_MAX_LEVELS)
        return FAIL(f, IIP_E_FORMAT, "more than %d levels", IIP_MAX_LEVELS);
    memmove(v + i + 1, v + i, (size_t)(*n - i) * sizeof *v);
    v[i] = *l;
    ++*n;
    return IIP_OK;
}

/* NULL: memory is out. */
static chain_index *index_of(node *v, int n)
{
    chain_index *ix;
    size_t pages = 0, all = 0, at;

    for (int i = 0; i < n; i++)
        if (v[i].page >= 0) {
            pages += v[i].page == i;
            all++;
            v[v[i].page].size++;
        }
    if (!(ix = malloc(sizeof *ix + (pages + 1 + all) * sizeof *ix->v)))
        return NULL;
    at = pages + 1;
    ix->pages = 0;
    for (int i = 0; i < n; i++)
        if (v[i].page == i) {
            ix->v[ix->pages++] = at;
            ix->v[at] = v[i].at;
            v[i].to = at + 1;
            at += v[i].size;
        }
    ix->v[pages] = at;
    for (int i = 0; i < n; i++)
        if (v[i].page >= 0 && v[i].page != i)
            ix->v[v[v[i].page].to++] = v[i].at;
    return ix;
}

static iip_status fill_index(void *file, iip_blob **out, iip_error *e)
{
    iip_tiff_file *f = file;
    chain_index *ix;
    node *v = NULL;
    int n = 0;

    if (chain(f, &v, &n) == IIP_OK) {
        sort_out(v, n);
        if (!iip_source_same(f->src))
            FAIL(f, IIP_E_CHANGED, "replaced while its directories were read");
        else if (!(ix = index_of(v, n)) || !(*out = iip_blob_make(ix, (size_t)ix->v[ix->pages] * sizeof *ix->v, free)))
            FAIL(f, IIP_E_MEMORY, "%d directories", n);
    }
    free(v);
    return f->bad;
}

/* The page and its levels, whose directories are at those places. */
static iip_status gather(iip_tiff_file *f, const uint64_t *at, size_t count, iip_tiff_level **out, int *levels,
                         apr_pool_t *p)
{
    iip_tiff_level *v = malloc((IIP_MAX_LEVELS + 1) * sizeof *v), *next = v + IIP_MAX_LEVELS;
    const iip_tiff_entry *sub;
    int n = 1;

    if (!v)
        return FAIL(f, IIP_E_MEMORY, "levels");
    level_read(f, at[0], v, NULL, p);
    sub = &v[0].dir.tag[TAG_SUBDIRS];
    if (!f->bad && sub->count > IIP_TIFF_SUBDIRS)
        FAIL(f, IIP_E_FORMAT, "%" PRIu64 " SubIFDs", sub->count);
    for (size_t i = 1; i < count && !f->bad; i++)
        if (level_read(f, at[i], next, v, p) == IIP_OK)
            level_put(f, v, &n, next);
    for (uint64_t i = 0; !f->bad && i < sub->count; i++) {
        uint64_t place = iip_tiff_uint(f, sub, i, 0);

        if (place && !f->bad && level_read(f, place, next, v, p) == IIP_OK)
            level_put(f, v, &n, next);
    }
    if (!f->bad) {
        *out = apr_pmemdup(p, v, (size_t)n * sizeof *v);
        *levels = n;
    }
    free(v);
    return f->bad;
}

iip_status iip_tiff_page(iip_tiff_file *f, int page, int *pages, iip_tiff_level **level, int *levels, apr_pool_t *p)
{
    const int i = page < 0 ? 0 : page;
    const chain_index *ix;
    iip_blob *hold = NULL;

    *pages = 0;
    f->bad = indexes ? iip_cache_get(indexes, &f->src->id, sizeof f->src->id, 0, fill_index, f, &hold, f->e)
                     : fill_index(f, &hold, f->e);
    if (f->bad)
        return f->bad;
    ix = hold->data;
    *pages = ix->pages;
    if (i >= ix->pages)
        FAIL(f, IIP_E_NOT_FOUND, "no page %" PRId64 " of %d", (int64_t)page + 1, ix->pages);
    else
        gather(f, ix->v + ix->v[i], ix->v[i + 1] - ix->v[i], level, levels, p);
    iip_blob_release(hold);
    return f->bad;
}
