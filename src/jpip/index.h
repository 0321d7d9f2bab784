/* SPDX-License-Identifier: Apache-2.0
 * The packet index: where each packet of each precinct of a code-stream lies (T.800 annex B), and what a data-bin is
 * made of. Built once; then read-only, so that any number of threads may ask it. It lies in one block of memory, the
 * same as in its file, 10 bytes a packet (20 where packet headers stand apart, in PPM or PPT segments), 4 a
 * tile-component, 40 a tile and a tile-part.
 *
 * A precinct has a running number (0 .. precincts - 1: tile by tile, component by component, resolution r = 0 first,
 * raster order) and an in-class id I of JPIP; jpip_index_id() and jpip_index_number() translate. Files of any
 * progression, with PLT, PLM or neither, give the same answers: nothing below depends on the order of packets in the
 * file. What a truncated file lacks is said precinct by precinct.
 *
 * Limits (IIP_E_FORMAT with the reason): 65535 tiles, 16384 components, 2^26 precincts, 2^28 packets, ids up to 2^53,
 * 4 GiB a precinct, 60 s of CPU, and that the index is no more than 1 GiB. Structure that is wrong is IIP_E_FORMAT,
 * packet headers that are wrong and no PLT to go by: IIP_E_CORRUPT. */
#ifndef JPIP_INDEX_H
#define JPIP_INDEX_H
#include "cache/cache.h"
#include "codec/jp2.h"

/* --- boxes: boxes.c --- */

/* A top-level box; len: of its contents, at + head. */
typedef struct {
    int64_t at, len;
    char type[4];
    unsigned char head; /* bytes of its header: 8 or 16 */
} jpip_box;

/* A code-stream, in the order of jp2c and ftbl boxes. */
typedef struct {
    int box;    /* of jpip_boxes.box; -1: the file is this code-stream */
    int link;   /* 0 = in this file, else url[link - 1] */
    int broken; /* fragments in several files, or an entry the table lacks: never served */
    int places; /* fragments; in another file it is theirs to check the ends */
    const iip_jp2_place *place;
} jpip_stream;

typedef struct {
    iip_source_t *s;
    int64_t from, to; /* bytes of the file looked at */
    const jpip_box *box;
    int boxes;
    const jpip_stream *stream;
    int streams;
    const char *const *url; /* of dtbl, as written (percent-encoded); "" = not text */
    int urls;
} jpip_boxes;

/* Reads the top level of a file, or of its bytes from..to (subtarget; 0, s->id.size = all). A jp2c box longer than the
 * file is cut (a file still being uploaded), other boxes so are IIP_E_FORMAT; so is what is no JPEG 2000 at all. */
iip_status jpip_boxes_read(jpip_boxes *b, iip_source_t *s, int64_t from, int64_t to, apr_pool_t *p, iip_error *e);
/* Code-stream n as jpip_indexes_get() wants it; s: b->s, or the linked file. IIP_E_CORRUPT: broken, or outside of s.
 * *f lives as long as p and s. */
iip_status jpip_boxes_stream(const jpip_boxes *b, int n, iip_source_t *s, iip_jp2_file *f, apr_pool_t *p, iip_error *e);

/* --- the index: index.c and its neighbours --- */

typedef struct jpip_index_tile jpip_index_tile; /* private */

/* A tile-part, in file order. */
typedef struct {
    int64_t at, len, data; /* bytes of the code-stream: from SOT on; data: behind SOD. Cut at the end of the file */
    int32_t tile, next;    /* next part of the same tile, -1 = last */
    int32_t res;           /* all its packets are of this resolution; -1 several, -2 it has none */
    int32_t cut;           /* 1: the file ends before it does */
} jpip_part;

typedef struct jpip_index {
    int64_t x0, y0, x1, y1, tx0, ty0, tw, th; /* reference grid: picture, first tile */
    int64_t columns, rows;                    /* of tiles */
    int32_t comps;
    int32_t levels; /* of the tile-component with most */
    int32_t layers; /* of the tile with most */
    int32_t cut;    /* 1: the file ends before its last tile-part does, or tiles are missing */
    int32_t parts;
    int32_t sop, eph; /* 1: Scod of some COD says such markers may stand among the packets */
    int32_t apart;    /* 1: packet headers in PPM or PPT */
    int64_t precincts, packets;
    int64_t len;      /* bytes of the code-stream */
    int64_t main_len; /* its first bytes up to the first SOT: the main header as it is (what JPT-stream wants) */
    int64_t read;     /* bytes of the code-stream that were read to build it */
    size_t bytes;     /* of the index itself */
    const iip_jp2_comp *comp;
    const jpip_part *part;
    /* private */
    const unsigned char *base;
    const iip_jp2_coding *coding;
    const jpip_index_tile *tile;
    const uint32_t *first; /* of each tile-component: its first precinct, counted from the tile's */
    const uint32_t *low, *sum, *packed_low, *packed_len;
    const uint16_t *high, *packed_high;
    const unsigned char *text, *apart_text;
    size_t text_main;
    void *owner; /* what holds base, and its end */
    void (*release)(void *owner);
} jpip_index;

/* f: its place and len are used, and its source. *out is malloc's: jpip_index_free(). *stop (or NULL) becoming 1 ends
 * it with IIP_E_ABORTED. */
iip_status jpip_index_build(jpip_index **out, const iip_jp2_file *f, const int *stop, iip_error *e);
void jpip_index_free(void *ix);

/* Main header bin: SOC up to the first SOT, without TLM, PLM, PPM and POC, the SOP bit of COD clear. */
const unsigned char *jpip_index_main(const jpip_index *ix, size_t *n);
/* Tile header bin: the segments of all its tile-parts without SOT, SOD, POC, PLT and PPT, the SOP bit of COD clear.
 * Not *complete: tile-parts are still to come. */
const unsigned char *jpip_index_tile_head(const jpip_index *ix, int64_t tile, size_t *n, int *complete);

/* The tile on the reference grid. */
iip_jp2_box jpip_index_tile_box(const jpip_index *ix, int64_t tile);
int jpip_index_tile_layers(const jpip_index *ix, int64_t tile);
/* 1 if the multi-component transform is on in this tile. */
int jpip_index_tile_mct(const jpip_index *ix, int64_t tile);
/* First of the tile's parts, -1 = none. */
int32_t jpip_index_tile_part(const jpip_index *ix, int64_t tile);
/* How a tile's component is coded: levels, precinct sizes, block style, wavelet. */
const iip_jp2_coding *jpip_index_coding(const jpip_index *ix, int64_t tile, int comp);

/* A resolution of a tile-component. */
typedef struct {
    iip_jp2_box box;    /* its samples: trx0 .. */
    int px, py;         /* PPx, PPy */
    int64_t wide, high; /* precincts; 0, 0 = none. That in column i covers samples of
                           ((box.x0 >> px) + i) << px up to the next such */
    uint32_t s;         /* number of its first precinct in the tile-component */
    uint32_t number;    /* running number of that one */
} jpip_res;
/* 0 <= r <= levels of that coding. */
void jpip_index_res(const jpip_index *ix, int64_t tile, int comp, int r, jpip_res *out);

/* Who a precinct is. */
typedef struct {
    int64_t tile, x, y; /* x, y: column and row in its resolution */
    int comp, res;
    uint32_t s, number;
} jpip_precinct;
void jpip_index_precinct(const jpip_index *ix, uint32_t number, jpip_precinct *out);
uint64_t jpip_index_id(const jpip_index *ix, int64_t tile, int comp, uint32_t s);
/* Running number of id I; -1: there is none. */
int64_t jpip_index_number(const jpip_index *ix, uint64_t id);

/* Precinct bins. A bin is its packets layer by layer, header then body, without SOP. */
/* Layers of which the packets are there; *all: how many it has. Less: the file is cut, and the bin never complete. */
int jpip_index_layers(const jpip_index *ix, uint32_t number, int *all);
/* Bytes of the first n layers' packets (n at most what is there): the Offset of layer n. */
int64_t jpip_index_bytes(const jpip_index *ix, uint32_t number, int n);
/* Whole layers in the first `bytes` bytes of the bin. */
int jpip_index_whole(const jpip_index *ix, uint32_t number, int64_t bytes);

/* A packet's bytes: `header` (NULL: it stands in front of the body in the file), then len at `at` in the code-stream.
 * */
typedef struct {
    const unsigned char *header;
    uint32_t header_len;
    int64_t at;
    uint32_t len;
} jpip_packet;
/* 0: it is not there. */
int jpip_index_packet(const jpip_index *ix, uint32_t number, int layer, jpip_packet *out);

/* What a layer adds to a code-block: len bytes at `at` in the code-stream, `first` of them its first pass where that
 * has a segment of its own and is in this layer (else 0, or len); next: share of a later layer, if this is not its
 * last. */
typedef struct {
    int64_t at;
    uint32_t len, first, next;
} jpip_share;

typedef struct {
    uint32_t first, last; /* of its shares */
    uint16_t passes;      /* 0: none of it is there */
    uint8_t planes;       /* zero bit-planes */
} jpip_block;

/* A sub-band's part of a precinct, block by block in raster order. x0, y0: number of the first (coordinates in the
 * sub-band by the side of code-blocks there). */
typedef struct {
    int64_t x0, y0;
    uint32_t w, h;
    jpip_block *block;
} jpip_block_band;

typedef struct {
    int bands;               /* LL, or HL, LH, HH */
    jpip_block_band band[3]; /* w, h 0: empty */
    jpip_share *share;
    size_t shares, bytes; /* bytes: of all this */
} jpip_blocks;

/* The code-blocks of a precinct in its first layers, by its packets' headers; h: of the code-stream that the index was
 * built of. IIP_E_FEATURE: a packet is not there, or not as its header says; IIP_E_FORMAT, IIP_E_CORRUPT: neither is of
 * use. Free it with jpip_blocks_free(), which takes NULL. */
iip_status jpip_blocks_read(const jpip_index *ix, const iip_jp2_head *h, const jpip_precinct *who, int layers,
                            jpip_blocks **out, iip_error *e);
void jpip_blocks_free(jpip_blocks *q);

/* n bytes of a precinct's bin from off on; f: the code-stream it was built of. IIP_E_RANGE beyond what is there. */
iip_status jpip_index_read(const jpip_index *ix, const iip_jp2_file *f, uint32_t number, int64_t off, void *buf,
                           size_t n, iip_error *e);
/* The bin of a tile (JPT-stream): its tile-parts one after the other as they are, SOT included; its length, and n bytes
 * of it. */
int64_t jpip_index_tile_bytes(const jpip_index *ix, int64_t tile);
iip_status jpip_index_read_tile(const jpip_index *ix, const iip_jp2_file *f, int64_t tile, int64_t off, void *buf,
                                size_t n, iip_error *e);

/* --- kept ones: indexes.c --- */

typedef struct jpip_indexes jpip_indexes;

/* One child's store: `budget` bytes of indexes in memory, and files below dir (IIPStateDir; NULL = none) + "/jpip",
 * which all children share. age: files not used for so long are removed, 0 = never. NULL: memory is out. */
jpip_indexes *jpip_indexes_create(const char *dir, apr_interval_time_t age, size_t budget, apr_pool_t *p);
void jpip_indexes_clear(jpip_indexes *xs); /* no other thread uses it any more; ends the one it began */
/* From so many bytes of code-stream on (else 1 GiB) nobody waits for an index that is built. Before threads. */
void jpip_indexes_behind(jpip_indexes *xs, int64_t from);
/* The index of a code-stream, by its source's identity and its place there: from memory, from its file, or built now,
 * by one thread and one child at a time, the others wait until `until` (0 = for ever; IIP_E_TIMEOUT). *ix lives while
 * *hold is held. xs NULL: built for the caller alone. IIP_E_CHANGED: the file was replaced meanwhile. IIP_E_BUSY: the
 * code-stream is large, a thread of this child or of another builds its index: ask again. */
iip_status jpip_indexes_get(jpip_indexes *xs, const iip_jp2_file *f, apr_time_t until, const jpip_index **ix,
                            iip_blob **hold, iip_error *e);
/* Removes old files, at most once an hour; cheap to call. */
void jpip_indexes_sweep(jpip_indexes *xs);

typedef struct {
    iip_cache_stats memory;
    uint64_t built, loaded, saved, failed; /* loaded: from a file another child or run has built */
} jpip_indexes_stats;
void jpip_indexes_read_stats(jpip_indexes *xs, jpip_indexes_stats *out);
#endif
