/* SPDX-License-Identifier: Apache-2.0
 * Two tables: decoders and encoders. A format = one file and one or two rows in table.c, no other edits.
 *
 * How to add a format: copy the shape of png.c; fill the vtable; add the row in table.c; add a fuzz target row in
 * tests/fuzz and pictures in tests/data/make_data.py. */
#ifndef IIP_CODEC_H
#define IIP_CODEC_H
#include "source/source.h"

/* >> mod_iip.h */
#define IIP_MAX_LEVELS 32
#define IIP_MAX_SIDE   INT64_C(2147483647)
#define IIP_MAX_CELL   (64u << 20) /* bytes of one decoded tile or strip cell; more is IIP_E_FORMAT */

/* A stored (or virtual) resolution. tile_w x tile_h are the cells its pixels are read and kept in: the stored tiles, or
 * for strips, scanlines and whole-picture formats full-width cells (tile_w == w) of at most some 2 MiB. */
typedef struct {
    int64_t w, h;
    int64_t tile_w, tile_h;
} iip_level;

typedef enum { IIP_GREY, IIP_RGB, IIP_LAB, IIP_CMYK, IIP_MULTIBAND } iip_space;

/* What a profile is to a picture: none (or damaged, or of other colours), the values are sRGB all the same, any other.
 */
typedef enum { IIP_ICC_NONE, IIP_ICC_SRGB, IIP_ICC_OTHER } iip_icc_kind;

/* A parsed header. Immutable once published; lives in its own pool. Decoders fill it in stored orientation and leave
 * orientation as the tag says; iip_info_upright() then turns the geometry, and cells.c turns the pixels. */
typedef struct {
    int levels;
    iip_level level[IIP_MAX_LEVELS]; /* [0] = full resolution, then strictly smaller */
    int64_t shown_w, shown_h;        /* size of the picture if not that of level[0] (iip_info_part()), else 0 */
    int virtual_from;                /* levels from this one on are not stored (scaled DCT); levels = none is virtual */
    int tiled;                       /* stored in tiles that clients should ask for */
    int ycc;                         /* stored as 8-bit YCbCr 4:2:0: planes() gives it so. Cells have even sides */
    int wavelet;                     /* levels are those of a wavelet: a side of n has (n + 1) / 2 below it */
    int pages;
    const char *page_name; /* of this page, UTF-8; NULL = none */
    double page_scale;     /* its values times this are what they mean (a stack's); 0 = unknown */
    int bands;             /* of what read() delivers, alpha included */
    int bits;              /* stored per sample */
    iip_sample sample;
    iip_space space;
    int alpha;       /* the last band is straight (not premultiplied) alpha */
    int bilevel;     /* 1 bit per pixel: still IIP_GREY with 0 and 255 */
    int orientation; /* EXIF/TIFF 1..8 */
    int layers;
    size_t hold; /* bytes a reader keeps for any read at all (a progressive JPEG's coefficients), 0 = none */
    size_t level_hold[IIP_MAX_LEVELS]; /* and besides while it reads that level */
    double decode_cost;                /* relative to a baseline JPEG pixel; 1 = same */
    const float *min, *max;            /* per band, or NULL */
    const void *icc;
    size_t icc_len;
    const void *xmp;
    size_t xmp_len;
    double res_x, res_y; /* pixels per cm, 0 = unknown */
    const void *exif;    /* TIFF-structured, without "Exif\0\0" */
    size_t exif_len;
    int lab_d50;           /* IIP_LAB: its white is that of profiles (D50), not D65 */
    iip_icc_kind icc_kind; /* these two are not the decoder's: what iip_icc_look() says, */
    uint64_t icc_id[2];    /* and equal for equal profiles, in one process */
} iip_info;
/* << */

/* Size of the picture: what regions and sizes are counted by. */
static inline int64_t iip_info_w(const iip_info *info)
{
    return info->shown_w ? info->shown_w : info->level[0].w;
}

static inline int64_t iip_info_h(const iip_info *info)
{
    return info->shown_h ? info->shown_h : info->level[0].h;
}

/* Makes of an upright picture one of a/b of its size, a <= b, sides rounded up. Levels stay as they are stored. */
void iip_info_part(iip_info *info, int64_t a, int64_t b);

/* 1 if a header is what the rest of the house relies on, whoever wrote the decoder. */
int iip_info_sound(const iip_info *info);

/* Turns levels (sizes, cells) and resolution as info->orientation says; called once after info(). */
void iip_info_upright(iip_info *info);

/* >> mod_iip.h */
/* Pixels, interleaved, top row first. Rows are stride bytes apart. */
typedef struct {
    int64_t w, h;
    int bands;
    iip_sample sample;
    size_t stride;
    unsigned char *px;
} iip_raster;
/* << */

size_t iip_sample_size(iip_sample s); /* bytes */
/* malloc freed by a cleanup of p, for what grows with the input. NULL: *e is IIP_E_MEMORY. */
void *iip_codec_alloc(size_t n, apr_pool_t *p, iip_error *e);

/* For formats without tiles. The level's cells are full-width and some 2 MiB, a multiple of step rows tall. */
void iip_level_rows(iip_level *l, int64_t w, int64_t h, size_t pixel, int step);
/* Copies want out of a picture that was decoded as a whole. IIP_E_RANGE if it lies outside. */
iip_status iip_raster_cut(const iip_raster *all, iip_rect want, iip_raster *out, iip_error *e);
/* n bytes of the file in memory of p (iip_codec_alloc), or NULL with *e filled: IIP_E_CORRUPT if the file is shorter.
 */
void *iip_codec_fetch(iip_source_t *s, int64_t off, size_t n, apr_pool_t *p, iip_error *e);
#define IIP_READ_ICC ((size_t)4 << 20) /* larger profiles and XMP are left out by readers */
#define IIP_READ_XMP ((size_t)1 << 20)

/* >> mod_iip.h */
/* What a rectangle whose x and y are even is on plane k of 4:2:0. */
#define IIP_PLANES 3
static inline int64_t iip_plane_side(int64_t n, int k)
{
    return k ? (n + 1) / 2 : n;
}

static inline iip_rect iip_plane_rect(iip_rect r, int k)
{
    return (iip_rect){iip_plane_side(r.x, k), iip_plane_side(r.y, k), iip_plane_side(r.w, k), iip_plane_side(r.h, k)};
}

/* Part of a stored tile as a file of its own. mem == NULL: bytes of the source at off. */
typedef struct {
    const void *mem;
    int64_t off;
    size_t len;
} iip_span;

typedef struct iip_reader iip_reader_t; /* defined by each decoder in its own file */

enum {
    IIP_DEC_SERIAL = 1,  /* library state is global: calls are serialised for this decoder */
    IIP_DEC_TRUSTED = 2, /* only for sources the administrator owns, not for fetched jobs */
    IIP_DEC_PICKS = 4,   /* picks its files among those of other formats, whose media type they keep */
};

typedef struct iip_decoder {
    int abi; /* IIP_CODEC_ABI */
    const char *name;
    unsigned flags;
    int priority; /* sniff order, high first: cheap and certain tests first */
    /* MUST. 0..100 from the first bytes (up to IIP_SNIFF of them); no I/O. */
    int (*sniff)(const unsigned char *head, size_t n);
    /* MUST. Reads headers only. Everything is allocated from p and torn down by its cleanups; after a failure the
     * caller destroys p, nothing else. Refuses by the header what breaks spec/security.md section 4 (IIP_E_FORMAT).
     * IIP_E_FORMAT also says "not mine": then the next decoder that knows the first bytes is asked.
     * s outlives the reader; a file is open (s->fd) for as long. page -1 = the default one; IIP_E_NOT_FOUND if there is
     * no such page. */
    iip_status (*open)(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p, iip_error *e);
    /* MUST. Fills *out (zeroed by the caller); what it points to is copied into p. */
    iip_status (*info)(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e);
    /* MUST. Decodes exactly `want` (stored orientation, inside one cell of the level's grid, often the whole cell) into
     * out: out->w, h = want.w, h; bands and sample as info says; stride may exceed the row. One thread per reader at a
     * time. Cells are usually asked downwards: a sequential format keeps its place between calls. After a failure the
     * reader is thrown away. Missing data (empty tile) is background: 0, or 0 alpha where there is one, white for grey
     * and RGB. */
    iip_status (*read)(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e);
    /* MAY be NULL. One stored tile as a stand-alone file of format *f: up to 3 spans, e.g. TIFF/JPEG = tables from
     * memory + the bytes of the file. A tile that hangs over the right or lower edge is cut to the level, without a new
     * loss. Memory is the reader's: copy before it is given back. IIP_E_FEATURE if it cannot be. */
    iip_status (*raw)(iip_reader_t *r, int level, int64_t tx, int64_t ty, iip_format *f, iip_span span[3], int *n,
                      iip_error *e);
    /* MAY be NULL where no info() sets ycc. As read(), but out is three rasters of one band as iip_plane_rect() sizes
     * them: Y, Cb, Cr of JFIF, chroma in the middle of its four pixels; edges of want are even but where the level
     * ends. Missing data is white. IIP_E_FEATURE if this cell is stored otherwise: then it is read(). */
    iip_status (*planes)(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e);
} iip_decoder;

#define IIP_SNIFF     64
#define IIP_CODEC_ABI 4 /* one more with each change of anything that other modules are built with */
/* << */

/* Where an encoder's bytes go. */
typedef struct iip_sink {
    iip_status (*write)(struct iip_sink *k, const void *p, size_t n, iip_error *e);
} iip_sink;

typedef struct {
    int quality; /* in the encoder's range; -1 if that is its default */
    const void *icc;
    size_t icc_len; /* 0 = none */
    const void *xmp;
    size_t xmp_len;
    double res_x, res_y; /* pixels per cm of the answer, 0 = unknown */
    int bilevel;         /* pixels are 0 and 255 only: 1 bit where the format has it */
    /* The answer's own block, as in iip_info: no orientation, no thumbnail; resolution and copyright are in it. */
    const void *exif;
    size_t exif_len;
    const char *copyright; /* IIPCopyright, for formats with a place of their own for it; NULL: none */
    int progressive;       /* JPEG: all is held until the last row, six bytes a pixel */
    int compression;       /* of TIFF: IIP_TIFF_... of settings.h */
    int planes;            /* pixels come by plane(), not by rows() */
} iip_enc_opts;

typedef struct iip_writer iip_writer_t;

typedef struct iip_encoder {
    int abi;
    iip_format format;
    const char *name, *ext, *mime; /* "jpeg", "jpg", "image/jpeg" */
    int q_min, q_max, q_default;   /* default -1: the encoder chooses by the other options */
    unsigned samples;              /* bit set 1u << iip_sample it accepts */
    int alpha;                     /* takes 2 and 4 bands; else the pipeline flattens to 1 or 3 */
    int64_t max_side;              /* pixels the format can hold */
    int whole;     /* all rows at once, or bytes in front depend on those behind: the core collects them */
    int cost;      /* bytes a pixel it then holds; if not whole: besides any answer that is not streamed */
    double effort; /* time a pixel takes, relative to a JPEG's */
    int no_icc;    /* has no place for a colour profile: colours are converted to sRGB */
    int planes;    /* RGB of a quality below this is stored as YCbCr 4:2:0, which plane() takes; 0: never */
    /* shape: w, h, bands, sample; px unused. */
    iip_status (*begin)(iip_writer_t **w, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k, apr_pool_t *p,
                        iip_error *e);
    iip_status (*rows)(iip_writer_t *w, const iip_raster *strip, iip_error *e);
    /* Rows of plane k, of one band and iip_plane_side() of the picture: 2, 4, 8 or 16 of Y in any number of strips,
     * half as many of Cb, of Cr, and so on; fewer at the end. */
    iip_status (*plane)(iip_writer_t *w, int k, const iip_raster *strip, iip_error *e);
    /* MAY be NULL: stored tiles are never sent as they lie (pass-through). Puts the colour profile into the n bytes of
     * such a tile, which have room for as many more as splice(o, NULL, 0) says. The new length, 0 if the tile cannot
     * take it. */
    size_t (*splice)(const iip_enc_opts *o, unsigned char *tile, size_t n);
    iip_status (*end)(iip_writer_t *w,
                      iip_error *e); /* after the last row; on failure or abort the pool's cleanup does it */
} iip_encoder;

/* The decoder that is surest of these first bytes, or NULL. next: the one behind it, to be asked when it has refused.
 */
const iip_decoder *iip_decoder_find(const unsigned char *head, size_t n);
const iip_decoder *iip_decoder_next(const unsigned char *head, size_t n, const iip_decoder *after);
const iip_encoder *iip_encoder_find(iip_format f);      /* NULL if not built */
const iip_encoder *iip_encoder_by_ext(const char *ext); /* exact, lower case */
const iip_encoder *iip_encoder_at(int i);               /* in order of preference; NULL past the end */
struct iip_cache;
/* tiff_page.c: where the decoder of TIFF keeps, of each file, which directories are whose pages; NULL: each reader
 * walks the chain. Before threads; one for the whole process. */
void iip_tiff_indexes(struct iip_cache *kept);
/* tiff_write.c: 1 if libtiff here has that compression, an IIP_TIFF_ value. */
int iip_tiff_writes(int compression);
/* Before the first request only. 0, or -1: made for another IIP_CODEC_ABI, a MUST is missing, or the table is full. */
int iip_decoder_add(const iip_decoder *d);
void iip_decoder_forget(void); /* all that were added */

/* meta.c. EXIF blocks are TIFF-structured, as in iip_info: what stands behind "Exif\0\0". */
/* Orientation (1..8); 1 if absent or damaged. */
int iip_exif_orientation(const unsigned char *p, size_t n);
/* Pixels per cm; left as they are if absent or damaged. */
void iip_exif_resolution(const unsigned char *p, size_t n, double *x, double *y);
/* The text under a tag of the first directory (Artist 315, Copyright 33432, ...), not ended by NUL; NULL if there is
 * none. */
const char *iip_exif_text(const void *exif, size_t n, unsigned tag, size_t *len);
/* A block of texts (each with its NUL), for readers of formats that keep them apart; *len 0 if none of them says
 * anything. */
typedef struct {
    unsigned tag;
    const char *text;
    size_t len;
} iip_exif_field;
iip_status iip_exif_of_texts(const iip_exif_field *text, int count, const void **out, size_t *len, apr_pool_t *p,
                             iip_error *e);
/* The block of an answer, at most 64 KiB: of the source's (n 0: none) the texts, the data of the shot and the place; no
 * orientation, no thumbnail. Resolution in pixels per cm (0: unknown); copyright (NULL: none) replaces the source's.
 * *len 0 if there is nothing to say. */
iip_status iip_exif_answer(const void *exif, size_t n, double res_x, double res_y, const char *copyright,
                           const void **out, size_t *len, apr_pool_t *p, iip_error *e);
/* Turns such a block into little-endian, in place. */
void iip_exif_little(void *exif, size_t n);
/* Where in a block the directory under a tag of the first begins (EXIF 34665, GPS 34853); 0: there is none. */
size_t iip_exif_hanging(const void *exif, size_t n, unsigned tag);
/* xmp.c: the text of a property ("dc:title"): an element, the items of its list joined by ", ", or an attribute. A copy
 * in p, unescaped; NULL if there is none. A search, no parser: of what it takes for a value nothing worse can come than
 * that it is another text of the packet. */
const char *iip_xmp_text(const void *xmp, size_t n, const char *property, apr_pool_t *p);
/* Makes an orientation in XMP 1, in place. */
void iip_xmp_upright(void *xmp, size_t n);

/* icc.c: what info->icc is to the picture, by its contents. */
iip_icc_kind iip_icc_look(const iip_info *info);
#endif
