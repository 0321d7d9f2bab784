/* SPDX-License-Identifier: Apache-2.0
 * What the files that build a packet index share. index.c lays the index out and goes from tile to tile; index_head.c
 * takes the tile's headers apart, index_walk.c names its packets in their order, index_lengths.c takes their lengths
 * from markers, index_packet.c finds them by parsing. */
#ifndef JPIP_INDEX_BUILD_H
#define JPIP_INDEX_BUILD_H
#include "codec/jp2_siz.h"
#include "jpip/index.h"

/* Bytes that grow, malloc's. */
typedef struct {
    unsigned char *p;
    size_t n, room;
} jpip_bytes;

/* Room for n more, at p + n; NULL: *e is filled. most: bytes in all, above it is IIP_E_FORMAT. */
unsigned char *jpip_bytes_room(jpip_bytes *b, size_t n, size_t most, iip_error *e);

/* A volume of packets in one progression: resolutions r0 .., components c0 .., the first `layers` layers. */
typedef struct {
    int r0, r1, c0, c1, layers, order; /* r1, c1: one behind */
} jpip_volume;

/* A resolution of the tile at hand. */
typedef struct {
    iip_jp2_box box;
    int64_t wide, high; /* precincts */
    uint32_t base;      /* the first one's number in the tile */
    int px, py;
} jpip_grid;

/* A tile-part's packet lengths, as markers give them. */
typedef struct {
    size_t at, len; /* of jpip_tile.lengths */
    int there;
} jpip_lengths;

/* The tile at hand. */
typedef struct {
    const iip_jp2_head *h;
    const iip_jp2_file *f;
    iip_error *e;
    int64_t tile;
    iip_jp2_box box;
    const iip_jp2_coding *coding; /* of each component */
    int layers;
    jpip_grid *grid;     /* of each resolution of each component: */
    const uint32_t *row; /* component c's begin at grid[row[c]] */
    uint32_t precincts;
    jpip_bytes volumes; /* jpip_volume */
    jpip_bytes lengths; /* of all its tile-parts */
    jpip_lengths *part; /* by tile-part of the tile */
    int parts;
    jpip_bytes packed;    /* its packet headers from PPM or PPT */
    unsigned short *done; /* layers named, of each precinct */
    int64_t read;         /* bytes of the code-stream read */
    uint64_t until;       /* thread's CPU time, ns */
    unsigned steps;
    const int *stop;
} jpip_tile;

/* IIP_E_FORMAT once the time is over; cheap enough to be called for each packet. */
iip_status jpip_tile_time(jpip_tile *t);

/* --- index_head.c --- */

/* Appends the main header bin to *text, and the packet lengths of PLM segments to *lengths (part by part: a byte says
 * how many bytes follow) if they are of use, else *lengths is left empty. */
iip_status jpip_main_read(const iip_jp2_head *h, int64_t main_len, jpip_bytes *text, jpip_bytes *lengths,
                          jpip_bytes *volumes, iip_error *e);
/* Appends the tile header bin to *text; sets t->part, t->lengths, t->packed, and t->volumes where the tile has its own.
 */
iip_status jpip_tile_read(jpip_tile *t, jpip_bytes *text);

/* --- index_walk.c --- */

/* Called for each packet, in the order of the code-stream. IIP_OK: go on; IIP_E_ABORTED: enough. */
typedef iip_status jpip_visit(void *ctx, uint32_t precinct, int comp, int res, int layer);
/* Names all packets of the tile. */
iip_status jpip_walk(jpip_tile *t, jpip_visit *visit, void *ctx);

/* --- index_lengths.c, index_packet.c --- */

/* Where a packet lies; header_len 0: in front of the body, or there is none apart. */
typedef struct {
    int64_t at, len;
    size_t header, header_len; /* in t->packed */
    int part;                  /* of the tile */
} jpip_found;
typedef iip_status jpip_put(void *ctx, uint32_t precinct, int res, int layer, const jpip_found *found);

/* Both call put for each packet that is there. By the lengths that markers give; IIP_E_FEATURE: they contradict the
 * tile, ask the other. */
iip_status jpip_by_lengths(jpip_tile *t, jpip_put *put, void *ctx);
/* By its header. */
iip_status jpip_by_headers(jpip_tile *t, jpip_put *put, void *ctx);
#endif
