/* SPDX-License-Identifier: Apache-2.0
 * A small code-stream while it is made: jp2_small.c plans it and writes its headers, jp2_packets.c its packets. */
#ifndef IIP_JP2_SMALL_FORM_H
#define IIP_JP2_SMALL_FORM_H
#include "codec/jp2_siz.h"
#include "codec/jp2_small.h"
#include "jpip/index.h"

/* A resolution of a component: cells of its precincts in the small picture, and those of them that are wanted. */
typedef struct {
    iip_jp2_box all, want;
    int px, py;       /* side of a cell */
    jpip_res in;      /* the tile's own precincts */
    iip_jp2_box read; /* fine: those of them (by column and row of the tile's) that wanted cells lie in, */
    size_t blocks;    /* and where theirs begin in s->blocks */
} iip_jp2_cells;

struct iip_jp2_small {
    const iip_jp2_head *h;
    const jpip_index *ix;
    iip_error *e;
    int64_t tile;
    int level, layers, most; /* layers: taken; most: resolutions of the component with most */
    int fine;                /* packets are made anew, of one layer; a cell is a code-block of each sub-band */
    iip_jp2_box box;         /* of the small picture */
    iip_jp2_coding *coding;  /* of the tile, but fine: cells for precincts */
    uint32_t *row;           /* cell[row[c]]: component c's first */
    iip_jp2_cells *cell;
    jpip_blocks **blocks;    /* fine: of the tile's precincts, those that were read */
    size_t blocks_n, tables; /* tables: their bytes */
    unsigned char *mem;
    size_t n, data;        /* data: where the packets begin */
    size_t bodies, packed; /* places in the file, bytes of all packets: counted */
};

/* Fine: the precincts that the small picture has, where k has cells: as large as can be with code-blocks of that side.
 */
void iip_jp2_small_precinct(const iip_jp2_coding *k, int r, int *px, int *py);

/* Counts them; fine: reads the headers of those that are taken apart. IIP_E_FEATURE: not in this way. */
iip_status iip_jp2_packets_count(iip_jp2_small *s);
/* Writes them. */
iip_status iip_jp2_packets_put(iip_jp2_small *s, unsigned char *p);
void iip_jp2_packets_free(iip_jp2_small *s);
#endif
