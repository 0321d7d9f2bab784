/* SPDX-License-Identifier: Apache-2.0
 * The inside of the TIFF decoder: tiff_dir.c (bytes, directories), tiff_page.c (which directories are pages and
 * levels), tiff_form.c (how samples are stored), tiff_pixel.c (stored samples to delivered ones), tiff_raw.c (stored
 * tiles as files), tiff_lib.c (libtiff), tiff_jpeg.c (JPEG), tiff_ojpeg.c (old-style JPEG), tiff.c (the decoder
 * itself), tiff_own.c (compressions that libtiff lacks). Directories are parsed here and not by libtiff: it keeps
 * arrays of offsets in memory and walks the chain for each step.
 *
 * Values are read through a window of the file. A failure sticks in the file's `bad` and error, further values are then
 * 0, so that a run of them needs one check at its end. */
#ifndef IIP_TIFF_DIR_H
#define IIP_TIFF_DIR_H
#include "codec/codec.h"

#define IIP_TIFF_DIRS    4096 /* followed in a file */
#define IIP_TIFF_SUBDIRS 32
#define IIP_TIFF_ENTRIES 1024 /* tags of a directory */
#define IIP_TIFF_BLOCKS  (1 << 24)
#define IIP_TIFF_BANDS   1024
#define IIP_TIFF_WINDOWS 8 /* into arrays of places: viewers go up and down between levels */

/* X(name, tag): what is looked at. */
#define IIP_TIFF_TAGS(X)                                                                                               \
    X(SUBTYPE, 254)                                                                                                    \
    X(OLD_SUBTYPE, 255)                                                                                                \
    X(WIDTH, 256)                                                                                                      \
    X(HEIGHT, 257)                                                                                                     \
    X(BITS, 258)                                                                                                       \
    X(COMPRESSION, 259)                                                                                                \
    X(PHOTOMETRIC, 262)                                                                                                \
    X(FILLORDER, 266)                                                                                                  \
    X(DOCUMENT_NAME, 269)                                                                                              \
    X(DESCRIPTION, 270)                                                                                                \
    X(MAKE, 271)                                                                                                       \
    X(MODEL, 272)                                                                                                      \
    X(STRIP_OFFSETS, 273)                                                                                              \
    X(ORIENTATION, 274)                                                                                                \
    X(SAMPLES, 277)                                                                                                    \
    X(ROWS, 278)                                                                                                       \
    X(STRIP_COUNTS, 279)                                                                                               \
    X(RES_X, 282)                                                                                                      \
    X(RES_Y, 283)                                                                                                      \
    X(PLANAR, 284)                                                                                                     \
    X(PAGE_NAME, 285)                                                                                                  \
    X(RES_UNIT, 296)                                                                                                   \
    X(SOFTWARE, 305)                                                                                                   \
    X(DATE, 306)                                                                                                       \
    X(ARTIST, 315)                                                                                                     \
    X(COLORMAP, 320)                                                                                                   \
    X(TILE_WIDTH, 322)                                                                                                 \
    X(TILE_HEIGHT, 323)                                                                                                \
    X(TILE_OFFSETS, 324)                                                                                               \
    X(TILE_COUNTS, 325)                                                                                                \
    X(SUBDIRS, 330)                                                                                                    \
    X(INK_SET, 332)                                                                                                    \
    X(EXTRA, 338)                                                                                                      \
    X(FORMAT, 339)                                                                                                     \
    X(SMIN, 340)                                                                                                       \
    X(SMAX, 341)                                                                                                       \
    X(JPEG_TABLES, 347)                                                                                                \
    X(JPEG_PROC, 512)                                                                                                  \
    X(JPEG_AT, 513)                                                                                                    \
    X(JPEG_LEN, 514)                                                                                                   \
    X(JPEG_RESTART, 515)                                                                                               \
    X(JPEG_Q, 519)                                                                                                     \
    X(JPEG_DC, 520)                                                                                                    \
    X(JPEG_AC, 521)                                                                                                    \
    X(LUMA, 529)                                                                                                       \
    X(SUBSAMPLING, 530)                                                                                                \
    X(BLACK_WHITE, 532)                                                                                                \
    X(XMP, 700)                                                                                                        \
    X(DEPTH, 32997)                                                                                                    \
    X(COPYRIGHT, 33432)                                                                                                \
    X(ICC, 34675)                                                                                                      \
    X(NITS, 37439)

#define IIP_TIFF_ENUM(name, tag) TAG_##name,
enum { IIP_TIFF_TAGS(IIP_TIFF_ENUM) TAG_COUNT };

/* Where the values of a tag are; count 0 = the tag is not there. */
typedef struct {
    int type, size; /* TIFF's number of the type; bytes of one value */
    uint64_t count, at;
} iip_tiff_entry;

/* A piece of an array, or of the file, read ahead. */
typedef struct {
    int64_t at;
    size_t len;
    unsigned char buf[1024];
} iip_tiff_window;

typedef struct {
    iip_source_t *src;
    int64_t size;
    int big, msb; /* BigTIFF; most significant byte first */
    uint64_t first;
    iip_error *e;
    iip_status bad;
    iip_tiff_window ahead, offsets[IIP_TIFF_WINDOWS], counts[IIP_TIFF_WINDOWS];
} iip_tiff_file;

/* A directory. A block is a tile or a strip; a strip is as wide as the picture. */
typedef struct {
    uint64_t at, next;
    iip_tiff_entry tag[TAG_COUNT];
    int64_t w, h, block_w, block_h;
    int64_t across, per_plane; /* blocks */
    int tiled, planar;         /* planar: each sample in a plane of its own */
    int samples, bits, format, photometric, compression, fill, orientation;
    int jp2_ycc;  /* the same where JPEG 2000's decoder does it */
    int jpeg_ycc; /* YCbCr that libjpeg converts: photometric is RGB then */
    int ojpeg;    /* old-style JPEG, which is another decoder's: of the whole picture, or not at all */
    int sub_x, sub_y;
    unsigned subtype; /* bits of NewSubfileType */
} iip_tiff_dir;

enum { TIFF_REDUCED = 1, TIFF_PAGE = 2, TIFF_MASK = 4 };

/* tiff_dir.c. Each takes its error from f->e. */
iip_status iip_tiff_head(iip_tiff_file *f);
/* Where the tags of the directory at that place are. IIP_E_CORRUPT, IIP_E_FORMAT. */
iip_status iip_tiff_dir_find(iip_tiff_file *f, uint64_t at, iip_tiff_dir *d);
/* Then what they say, as far as every picture needs it; the limits of spec/security.md section 4. */
iip_status iip_tiff_dir_read(iip_tiff_file *f, iip_tiff_dir *d);
/* Value i of a tag as it stands; absent: def. */
uint64_t iip_tiff_uint(iip_tiff_file *f, const iip_tiff_entry *t, uint64_t i, uint64_t def);
double iip_tiff_real(iip_tiff_file *f, const iip_tiff_entry *t, uint64_t i, double def);
/* All bytes of a tag, malloc'ed and freed with p; NULL if it has none or more than max. */
const void *iip_tiff_bytes(iip_tiff_file *f, const iip_tiff_entry *t, size_t max, size_t *n, apr_pool_t *p);
/* malloc'ed room for n bytes, what was in it is lost; the owner frees p. */
typedef struct {
    unsigned char *p;
    size_t room;
} iip_tiff_buffer;
iip_status iip_tiff_room(iip_tiff_file *f, iip_tiff_buffer *b, size_t n);
/* Where block i lies; *len = 0: it is empty. need = bytes an uncompressed one has. */
iip_status iip_tiff_block(iip_tiff_file *f, const iip_tiff_dir *d, uint64_t i, size_t need, int64_t *off, size_t *len);
/* Reads n bytes at off, or fails (IIP_E_CORRUPT behind the end of the file). */
iip_status iip_tiff_read(iip_tiff_file *f, void *buf, size_t n, int64_t off);

/* How pixels are stored and what is delivered. */
typedef enum { TIFF_AS_IS, TIFF_INVERT, TIFF_PALETTE, TIFF_YCC, TIFF_ICCLAB } iip_tiff_map;
typedef struct {
    /* delivered */
    int bands, alpha, bilevel;
    iip_sample sample;
    iip_space space;
    /* stored */
    int bits, in; /* samples of a pixel that are read: chunky all there are, planar those delivered */
    int colours;  /* of them, colours */
    int alpha_at; /* which is alpha, -1: none */
    int planar;
    int native;       /* a stored sample is a delivered one; else: */
    int exponent;     /* of floats of 16 and 24 bits, its bits; 0: integers */
    uint32_t sign;    /* the sign bit of signed integers, which are moved to begin at 0 */
    uint64_t scale;   /* integers to the whole range of the delivered sample, 32 binary places */
    double low, top;  /* of floats: what is black and white */
    int plain;        /* stored rows are delivered rows */
    int associated;   /* colours are multiplied by alpha */
    int clumps;       /* subsampled YCbCr: blocks of pixels with their chroma behind them */
    int sub_x, sub_y; /* of those */
    iip_tiff_map map;
    const void *table; /* of palette or YCbCr */
} iip_tiff_form;

/* tiff_form.c. Shape: all but the table. IIP_E_FORMAT for what is not read. */
iip_status iip_tiff_form_shape(iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d);
/* What is in other tags: table, low and top. */
iip_status iip_tiff_form_table(iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d, apr_pool_t *p);
/* Bytes of a stored row (of clumps: of sub_y rows), of rows rows, of one plane or all samples. */
size_t iip_tiff_form_row(const iip_tiff_form *m, const iip_tiff_dir *d);
size_t iip_tiff_form_size(const iip_tiff_form *m, const iip_tiff_dir *d, int64_t rows);
/* Where colour i, or behind the colours alpha, is stored. */
int iip_tiff_form_stored(const iip_tiff_form *m, int i);
/* An integer as its share of the delivered sample's range. */
static inline uint32_t iip_tiff_form_widen(const iip_tiff_form *m, uint32_t v)
{
    return (uint32_t)(((v ^ m->sign) * m->scale + (UINT64_C(1) << 31)) >> 32);
}
/* SMinSampleValue and SMaxSampleValue of each band as delivered: 2 * bands values, or NULL if there are none. */
const float *iip_tiff_form_range(const iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d, apr_pool_t *p);
/* YCbCr to RGB; luma, red and so on have 16 binary places. */
typedef struct {
    int luma[256], r_cr[256], g_cb[256], g_cr[256], b_cb[256];
} iip_tiff_ycc;

/* tiff_pixel.c. Pixels x .. x+n of row y of a stored block to delivered ones. The planes are `plane` bytes apart (0:
 * chunky). wide holds room for n pixels of m->in samples. */
void iip_tiff_form_deliver(const iip_tiff_form *m, const unsigned char *block, size_t row, size_t plane, int64_t x,
                           int64_t y, int64_t n, unsigned char *wide, unsigned char *out);
/* Background: n pixels. */
void iip_tiff_form_empty(const iip_tiff_form *m, unsigned char *out, size_t n);

typedef struct {
    iip_tiff_dir dir;
    iip_tiff_form form;
    iip_level cell;
    size_t block; /* bytes of a stored block (of one plane), at most IIP_MAX_CELL unless by_rows */
    int by_rows;
} iip_tiff_level;

/* tiff_page.c. Picks the page (-1: the first) and its levels, which are allocated in p. */
iip_status iip_tiff_page(iip_tiff_file *f, int page, int *pages, iip_tiff_level **level, int *levels, apr_pool_t *p);

/* tiff_raw.c. The header of a JPEG stream up to its first scan, or of tables up to their end. */
typedef struct {
    int sof, precision, comps, w, h, id[4], sub_x[4], sub_y[4];
    int jfif, adobe; /* adobe: the transform, -1 without the marker */
    int dqt, dht;
    int tables;   /* ends with EOI, without any frame */
    size_t frame; /* where the frame's parameters are */
    size_t at;    /* where the walk ended: the marker SOS or EOI */
} iip_tiff_jpeg;
int iip_tiff_jpeg_look(const unsigned char *p, size_t n, iip_tiff_jpeg *j); /* 1 if it is one */
/* What has to stand before a tile's bytes behind its SOI: tables->n + IIP_TIFF_JOIN bytes of room; 0: it is no picture
 * that any decoder would show as the file means it. */
#define IIP_TIFF_JOIN 32
typedef struct {
    const unsigned char *p; /* NULL: there are none */
    size_t n;
    iip_tiff_jpeg look;
} iip_tiff_tables;
size_t iip_tiff_jpeg_join(const iip_tiff_dir *d, const iip_tiff_tables *tables, const iip_tiff_jpeg *tile,
                          unsigned char *head);
typedef struct {
    int w, h, alpha;
    size_t len;
} iip_tiff_webp;
int iip_tiff_webp_look(const unsigned char *p, size_t n, iip_tiff_webp *v);

/* tiff_jpeg.c. JPEG blocks by libjpeg; tables are kept between them. NULL with f->bad set: out of memory. */
typedef struct iip_tiff_jpegs iip_tiff_jpegs_t;
iip_tiff_jpegs_t *iip_tiff_jpegs_create(iip_tiff_file *f, apr_pool_t *p);
/* The JPEGTables of a level, which live as long as j. NULL: damaged, or f->bad is set. */
const iip_tiff_tables *iip_tiff_jpeg_tables(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level);
/* The first rows of the block whose len bytes are at in, as libtiff would decode them. IIP_E_FEATURE: left to libtiff,
 * nothing is said in f. */
iip_status iip_tiff_jpeg_block(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level, const unsigned char *in,
                               size_t len, unsigned char *dst, int64_t rows);
/* The part `want` of such a block as planes of 4:2:0 (want.x, y even) to (to_x, to_y) of the three rasters at out.
 * IIP_E_FEATURE: it is stored otherwise, nothing is said in f. */
iip_status iip_tiff_jpeg_planes(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level, const unsigned char *in,
                                size_t len, iip_rect want, const iip_raster *out, int64_t to_x, int64_t to_y);
/* Its upper left w x h pixels as a JPEG file of the same coefficients: *n bytes at *out, until the next call. in is
 * written to. IIP_E_FEATURE: it cannot be, nothing is said in f. */
iip_status iip_tiff_jpeg_cut(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level, unsigned char *in, size_t len,
                             int64_t w, int64_t h, const unsigned char **out, size_t *n);

/* tiff_cut.c. JPEG tiles cut without decoding them. */
typedef struct iip_tiff_codes iip_tiff_codes_t; /* Huffman codes */
iip_tiff_codes_t *iip_tiff_codes_create(apr_pool_t *p);
void iip_tiff_codes_clear(iip_tiff_codes_t *t);
/* Takes over those of a stream or of tables that were looked at. 0: it has restarts, and cannot be cut here. */
int iip_tiff_codes_read(iip_tiff_codes_t *t, const unsigned char *p, const iip_tiff_jpeg *j);
/* The entropy-coded data of the upper left w x h pixels (at least 1, at most those of j) of a sequential stream with
 * subsampled components behind the first, and EOI. The length; 0: it is damaged, or cannot be cut here. out has room
 * for work and result. */
#define IIP_TIFF_CUT(len, h) (3 * (len) + 64 * ((size_t)(h) / 8 + 16))
size_t iip_tiff_cut(const iip_tiff_codes_t *t, const iip_tiff_jpeg *j, const unsigned char *in, size_t len, int w,
                    int h, unsigned char *out);

/* tiff_lib.c */
#define IIP_TIFF_HANDLES 6 /* of libtiff, kept by a reader: levels in use, or planes of a strip decoded by rows */
typedef struct iip_tiff_lib iip_tiff_lib_t;
/* most: bytes of a compressed strip that is decoded by rows. Closed with p. */
iip_tiff_lib_t *iip_tiff_lib_create(iip_tiff_file *f, const iip_tiff_level *level, size_t most, apr_pool_t *p);
iip_tiff_jpegs_t *iip_tiff_lib_jpegs(iip_tiff_lib_t *t); /* made when first asked for */
/* The n bytes of a whole block, whose compressed ones are at off. */
iip_status iip_tiff_lib_block(iip_tiff_lib_t *t, int level, uint64_t block, int64_t off, size_t len, unsigned char *dst,
                              size_t n);
/* iip_tiff_jpeg_planes() of a block whose len bytes are at off. */
iip_status iip_tiff_lib_planes(iip_tiff_lib_t *t, int level, uint64_t block, int64_t off, size_t len, iip_rect want,
                               const iip_raster *out, int64_t to_x, int64_t to_y);
/* Rows from y on of a plane, in one strip, decoded in order; goes back by starting the strip again. */
iip_status iip_tiff_lib_rows(iip_tiff_lib_t *t, int level, int plane, uint64_t strip, int64_t off, size_t len,
                             int64_t y, int64_t rows, unsigned char *dst);

/* tiff_own.c. The n bytes of a block out of its len compressed ones, whose bits are in order. IIP_E_CORRUPT,
 * IIP_E_MEMORY; nothing is said in f. */
iip_status iip_tiff_own_block(const iip_tiff_file *f, const iip_tiff_dir *d, const unsigned char *in, size_t len,
                              unsigned char *dst, size_t n);

/* tiff_ojpeg.c. The JPEG decoder's reader over the picture of a directory whose ojpeg is set. IIP_E_FORMAT for a
 * variant that cannot be put together. */
iip_status iip_tiff_ojpeg_open(iip_tiff_file *f, const iip_tiff_dir *d, const iip_limits *lim, iip_reader_t **out,
                               apr_pool_t *p);

enum {
    TIFF_NONE = 1,
    TIFF_OLD_JPEG = 6,
    TIFF_JPEG = 7,
    TIFF_CCITT_WORDS = 32771,
    TIFF_THUNDERSCAN = 32809,
    TIFF_PIXARLOG = 32909,
    TIFF_JP2_YCC = 33003,
    TIFF_JP2_RGB = 33005,
    TIFF_SGILOG = 34676,
    TIFF_SGILOG24 = 34677,
    TIFF_JP2 = 34712,
    TIFF_WEBP = 50001
};
enum {
    TIFF_WHITE_IS_0,
    TIFF_BLACK_IS_0,
    TIFF_RGB,
    TIFF_INDEXED,
    TIFF_IS_MASK,
    TIFF_SEPARATED,
    TIFF_YCBCR,
    TIFF_CIELAB = 8,
    TIFF_ICC_LAB,
    TIFF_LOGL = 32844,
    TIFF_LOGLUV = 32845
};

/* One row of the table of compressions (tiff_page.c). */
typedef struct {
    int code;
    const char *name;
    unsigned flags;
    unsigned bits; /* set of depths (bit n = n bits; 0: all) */
    double cost;   /* relative to JPEG */
} iip_tiff_codec;
/* WHOLE: all of a block is decoded at once. OURS: not by libtiff. NOISY: what it finds wrong in a row does not matter,
 * faxes come over telephones. */
enum { TIFF_WHOLE = 1, TIFF_OURS = 2, TIFF_NOISY = 4 };
static inline int iip_tiff_is_jp2(const iip_tiff_dir *d)
{
    return d->compression == TIFF_JP2_YCC || d->compression == TIFF_JP2_RGB || d->compression == TIFF_JP2;
}
const iip_tiff_codec *iip_tiff_codec_find(int code);
#endif
