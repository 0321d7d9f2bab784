/* SPDX-License-Identifier: Apache-2.0
 * The block of memory that is a packet index, and its file. index.c fills it, index_ask.c and indexes.c read it. */
#ifndef JPIP_INDEX_FORM_H
#define JPIP_INDEX_FORM_H
#include "jpip/index.h"

#define JPIP_INDEX_VERSION 2

/* Tables, in this order, each at a multiple of 8. */
enum {
    JPIP_T_COMP,
    JPIP_T_CODING,
    JPIP_T_PART,
    JPIP_T_TILE,
    JPIP_T_FIRST,
    JPIP_T_LOW,
    JPIP_T_SUM,
    JPIP_T_HIGH,
    JPIP_T_PACKED_LOW,
    JPIP_T_PACKED_LEN,
    JPIP_T_PACKED_HIGH,
    JPIP_T_TEXT,
    JPIP_T_APART,
    JPIP_TABLES
};

struct jpip_index_tile {
    uint32_t coding;   /* which set: its components' begin at coding * comps */
    uint32_t precinct; /* its first */
    uint32_t precincts;
    uint32_t packet;    /* its first */
    uint32_t text, len; /* its header bin */
    int32_t part;       /* its first, -1 = none */
    uint16_t layers;
    unsigned char mct, complete;
};

/* Whose index it is. No padding: compared as bytes. */
typedef struct {
    iip_ident id;
    uint64_t place[2]; /* hash of where the code-stream lies in the file */
} jpip_index_key;

typedef struct {
    char magic[8];
    uint32_t version, order; /* order: 0x01020304 as this machine writes it */
    uint64_t check;          /* of this record (with 0 here) and the tables up to JPIP_T_FIRST */
    jpip_index_key key;
    uint64_t at[JPIP_TABLES + 1]; /* where tables begin; the last: where all ends */
    uint64_t unit[JPIP_TABLES];   /* bytes of an entry */
    int64_t grid[10];             /* x0 .. th, columns, rows */
    int64_t precincts, packets, len, main_len, read, text_main;
    int32_t comps, levels, layers, cut, parts, sop, eph, apart;
} jpip_index_record;

/* What it says of itself, unchecked, into a new index; NULL: no memory. The block is released with it. */
jpip_index *jpip_index_attach(const unsigned char *base, void *owner, void (*release)(void *owner));
/* 1 if the block is a sound index of that key in all that is not looked at packet by packet. */
int jpip_index_sound(const unsigned char *base, size_t n, const jpip_index_key *key);
/* Fills in key and check. */
void jpip_index_seal(unsigned char *base, const jpip_index_key *key);
#endif
