/* SPDX-License-Identifier: Apache-2.0
 * Open decoders, idle between requests. */
#ifndef IIP_READERS_H
#define IIP_READERS_H
#include "codec/codec.h"

typedef struct iip_readers iip_readers_t;

/* One thread's until given back. src is the reader's own (iip_source_keep): tiles are read through it, so a cold tile
 * of a known image opens nothing. Calls go through dec: for an IIP_DEC_SERIAL decoder it stands in with the lock. */
typedef struct iip_lease {
    const iip_decoder *dec;
    iip_reader_t *reader;
    iip_source_t *src;
} iip_lease;

/* keep: idle readers at most (and at most 64 MiB of their info.hold together). */
iip_readers_t *iip_readers_create(int keep, apr_pool_t *p);
void iip_readers_clear(iip_readers_t *rs); /* no other thread uses it any more */
/* An idle reader with this identity and page (the one given back last), else opens: sniff, decoder, header. Until it is
 * given back, by this thread, it works on this file (quarantine.h). IIP_E_FORMAT; IIP_E_CORRUPT: the file is in
 * quarantine. */
iip_status iip_readers_take(iip_readers_t *rs, iip_source_t *s, int page, const iip_limits *lim, iip_lease **l,
                            iip_error *e);
/* not good: closed, never used again. hold: info.hold of its picture. */
void iip_readers_give(iip_readers_t *rs, iip_lease *l, int good, size_t hold);
#endif
