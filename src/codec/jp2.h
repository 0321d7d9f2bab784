/* SPDX-License-Identifier: Apache-2.0
 * What the files of the JPEG 2000 reader share. jp2_box.c finds the code-stream and what the boxes around it say,
 * jp2_siz.c reads its headers and where its tile-parts lie, jp2_tile.c has OpenJPEG decode one tile out of a small
 * code-stream made for it, jp2_form.c turns components into bands, jp2.c is the decoder.
 *
 * A tile is handed to OpenJPEG as a picture of its own at its place on the reference grid, so neither time nor memory
 * depends on the number of tiles. Facts are from ITU-T T.800, T.801 and T.814. */
#ifndef IIP_JP2_H
#define IIP_JP2_H
#include "codec/codec.h"

#define IIP_JP2_BANDS 1024  /* components and channels, to be decoded */
#define IIP_JP2_COMPS 16384 /* components */
#define IIP_JP2_RES   33    /* resolutions of a component */

static inline uint32_t iip_jp2_be16(const unsigned char *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t iip_jp2_be32(const unsigned char *p)
{
    return iip_jp2_be16(p) << 16 | iip_jp2_be16(p + 2);
}

static inline int64_t iip_jp2_ceil(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* --- boxes --- */

/* Bytes of the file. */
typedef struct {
    int64_t at, len;
} iip_jp2_place;

typedef struct {
    int comp;   /* of the code-stream */
    int column; /* of the palette, -1 = the component itself */
} iip_jp2_channel;

typedef enum {
    IIP_JP2_COLOUR = 0,
    IIP_JP2_OPACITY = 1,
    IIP_JP2_PREMULTIPLIED = 2
} iip_jp2_kind; /* others mean nothing here */

typedef struct {
    int channel, kind, of; /* of: 0 the whole picture, 1.. number of the colour */
} iip_jp2_meaning;

enum { IIP_JP2_NO_SPACE = -1, IIP_JP2_ICC = -2 }; /* else the number of an enumerated colour space */

typedef struct {
    iip_source_t *s;
    iip_jp2_place *piece; /* the code-stream, in the order of its bytes */
    int pieces;
    int64_t len;
    int space;
    unsigned char icc_space[4]; /* signature in the profile */
    iip_jp2_place icc;
    int64_t lab[6];             /* range and offset of L, a, b; offset -1 = the default */
    int lab_d65;                /* which is said to be its white; else D50 */
    int entries, columns;       /* palette; 0 = none */
    int32_t *palette;           /* entry by entry */
    unsigned char *column_bits; /* as Bi: depth - 1, and 128 for signed */
    iip_jp2_channel *channel;   /* cmap */
    int channels;               /* 0 = the components */
    iip_jp2_meaning *meaning;   /* cdef */
    int meanings;
    iip_jp2_place xmp, exif;
    double res_x, res_y; /* pixels per cm, 0 = unknown */
} iip_jp2_file;

/* Finds the (first) code-stream of a file of boxes, or takes the file as one. */
iip_status iip_jp2_open(iip_jp2_file *f, iip_source_t *s, apr_pool_t *p, iip_error *e);
/* Bytes of the code-stream; IIP_E_CORRUPT where it ends. */
iip_status iip_jp2_bytes(const iip_jp2_file *f, void *buf, size_t n, int64_t off, iip_error *e);

/* --- the code-stream's headers --- */

typedef struct {
    unsigned char dx, dy, bits, sign;
} iip_jp2_comp;

enum { IIP_JP2_SOP = 2, IIP_JP2_EPH = 4 }; /* in Scod: such markers may stand among the packets */
enum { IIP_JP2_BYPASS = 1, IIP_JP2_TERMALL = 4, IIP_JP2_HT = 64 }; /* styles of code-blocks */

/* How a component is coded: SPcod of COD or COC. */
typedef struct {
    unsigned short layers;
    unsigned char levels, xcb, ycb, style, wavelet; /* exponents of code-blocks */
    unsigned char order, marked, mct;               /* of the tile: progression, IIP_JP2_SOP and _EPH, transform */
    unsigned char precinct[IIP_JP2_RES];            /* PPx, and PPy << 4 */
} iip_jp2_coding;

/* A tile-part: bytes of the code-stream from its SOT marker on. */
typedef struct {
    int64_t at, len;
    int64_t data;               /* its packets, behind SOD */
    int32_t tile, next;         /* next of the same tile, -1 = last */
    int64_t packed, packed_len; /* its share of the packet headers in the main header */
    int64_t missing;            /* bytes the file ends before */
    int own;                    /* the tile's first, with a coding style of its own */
} iip_jp2_part;

typedef struct {
    const iip_jp2_file *f;
    int64_t x0, y0, x1, y1, tx0, ty0, tw, th; /* reference grid: picture, first tile */
    int64_t columns, rows;                    /* of tiles */
    int comps;
    iip_jp2_comp *comp;
    iip_jp2_coding *coding; /* by the main header */
    int layers;             /* of the tile with most */
    int64_t dx, dy;         /* of a pixel on the reference grid: the finest component's */
    int levels;             /* all tiles and components have, with pixels in each component: at least 1 */
    int ht;                 /* some code-block may be coded by Part 15 */
    int marked;             /* SOP or EPH markers may stand among the packets */
    int apart;              /* packet headers stand in PPM or PPT segments, which OpenJPEG reads once only */
    unsigned char *head;    /* the main header's segments that decoding needs, SIZ first, without SOC */
    size_t head_len;
    int64_t main_len;      /* bytes of the code-stream up to its first tile-part */
    unsigned char *packed; /* all packet headers of PPM segments, put together */
    size_t packed_len;
    iip_jp2_part *part;
    int32_t parts, *first; /* first part of each tile, -1 = none */
    int cut;               /* the code-stream ends too early */
    size_t tile_bytes;     /* compressed bytes of the largest tile */
    size_t tile_work;      /* what OpenJPEG builds for a tile's precincts and code-blocks, at most */
} iip_jp2_head;

/* One axis of a component at a level: its samples have these numbers. */
static inline int64_t iip_jp2_at(int64_t grid, int64_t sub, int level)
{
    int64_t n = iip_jp2_ceil(grid, sub);

    return (n >> level) + ((n & ((INT64_C(1) << level) - 1)) != 0);
}

/* Place in a sub-band of nb halvings of a sample; high: of its high half on this axis. */
static inline int64_t iip_jp2_band(int64_t v, int nb, int high)
{
    const int64_t half = high ? INT64_C(1) << (nb - 1) : 0;

    return v <= half ? 0 : iip_jp2_at(v - half, 1, nb);
}

typedef struct {
    int64_t x0, y0, x1, y1;
} iip_jp2_box; /* half open */

/* Reads the main header and the headers of all tile-parts. f must live as long as *h. any: what OpenJPEG would not
 * manage is taken too, and a code-stream that ends too early as far as it goes; levels, layers, ht and what tiles take
 * is then left out. */
iip_status iip_jp2_head_read(iip_jp2_head *h, const iip_jp2_file *f, int any, apr_pool_t *p, iip_error *e);
/* How a tile is coded, each component, by its first tile-part (which need not be there). */
iip_status iip_jp2_tile_coding(const iip_jp2_head *h, int64_t tile, iip_jp2_coding *coding, iip_error *e);
/* A tile on the reference grid. */
iip_jp2_box iip_jp2_tile_box(const iip_jp2_head *h, int64_t tile);
/* IIP_OK if a tile's data are there and can hold as many packets as its headers promise. coding: of each component in
 * it. */
iip_status iip_jp2_tile_check(const iip_jp2_head *h, int64_t tile, iip_jp2_coding *coding, iip_error *e);

/* --- one tile in OpenJPEG --- */

typedef struct iip_jp2_tile iip_jp2_tile;
struct jpip_index;
struct jpip_indexes;

typedef struct {
    int32_t *px;
    int64_t x0, y0, w, h; /* samples of the component at the level */
} iip_jp2_plane;

/* Nothing is decoded yet; the handle lives in p. */
iip_status iip_jp2_tile_new(iip_jp2_tile **t, const iip_jp2_head *h, apr_pool_t *p, iip_error *e);
/* From now on code-streams of chosen packets are made where the index (of the same code-stream, it must live as long;
 * NULL = none) allows; and no tile as a whole that takes more than so many bytes, 0 = any. */
void iip_jp2_tile_use(iip_jp2_tile *t, const struct jpip_index *ix, size_t most);
/* Decodes so that in plane[c] (h->comps of them) stand at least the samples of want[c] that the tile has, until the
 * next call. Each component must have samples in the tile at that level. */
iip_status iip_jp2_tile_decode(iip_jp2_tile *t, int64_t tile, int level, int layers, const iip_jp2_box *want,
                               iip_jp2_plane *plane, iip_error *e);

/* jp2.c: where the reader finds packet indexes (NULL: each reader makes its own), and from how many bytes of
 * code-stream on it uses them, -1 = the usual. Before threads; one for the whole process. */
void iip_jp2_indexes(struct jpip_indexes *kept, int64_t from);

/* --- components to bands --- */

typedef struct iip_jp2_form iip_jp2_form;

iip_status iip_jp2_form_new(iip_jp2_form **m, const iip_jp2_head *h, apr_pool_t *p, iip_error *e);
/* bands, bits, sample, space, alpha, bilevel. */
void iip_jp2_form_info(const iip_jp2_form *m, iip_info *out);
/* 1 if bands are made of this component. */
int iip_jp2_form_uses(const iip_jp2_form *m, int comp);
/* Rows of out, whose top left pixel is (x, y) of the level. Components of fewer samples: the one at or before the
 * pixel. */
iip_status iip_jp2_form_fill(const iip_jp2_form *m, const iip_jp2_plane *plane, int64_t x, int64_t y, iip_raster *out,
                             iip_error *e);

/* jp2.c: a stream within another file, decoded to the top left of out, whose w and h become what it has. space: the
 * number of an enumerated colour space (T.801), or IIP_JP2_NO_SPACE. IIP_E_CORRUPT if it is larger than out, or has
 * other bands or samples. What p holds then is of no more use. */
iip_status iip_jp2_block(iip_source_t *s, int space, iip_raster *out, apr_pool_t *p, iip_error *e);
#endif
