/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a JPEG 2000 file: its boxes, the headers of its code-streams, their packet headers, and all that can be
 * asked of the packet index. */
#include "jpip/index.h"
#include <stdlib.h>
#include <apr_general.h>

#define MOST_STREAMS   8
#define MOST_PRECINCTS 5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void ask(const jpip_index *ix, const iip_jp2_file *f)
{
    iip_error e = {0};
    size_t n;
    int complete;

    jpip_index_main(ix, &n);
    for (int64_t t = 0; t < ix->columns * ix->rows && t < 500; t++) {
        const int64_t len = jpip_index_tile_bytes(ix, t);
        unsigned char some[64];

        jpip_index_tile_head(ix, t, &n, &complete);
        if (len > 0 && jpip_index_read_tile(ix, f, t, len / 2, some, 1, &e) != IIP_OK)
            abort();
    }
    for (uint32_t k = 0; k < (uint32_t)ix->precincts && k < MOST_PRECINCTS; k++) {
        jpip_precinct who;
        jpip_packet p;
        int all;
        const int there = jpip_index_layers(ix, k, &all);
        const int64_t bytes = jpip_index_bytes(ix, k, there);
        unsigned char *mem = malloc((size_t)bytes + 1);

        jpip_index_precinct(ix, k, &who);
        if (jpip_index_number(ix, jpip_index_id(ix, who.tile, who.comp, who.s)) != (int64_t)k)
            abort();
        if (there && !jpip_index_packet(ix, k, there - 1, &p))
            abort();
        if (mem && jpip_index_read(ix, f, k, 0, mem, (size_t)bytes, &e) != IIP_OK)
            abort();
        free(mem);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    iip_error e = {0};
    iip_jp2_file f;
    jpip_boxes b;
    jpip_index *ix;
    apr_pool_t *p;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&p, root);
    if (jpip_boxes_read(&b, iip_source_memory(data, n, "fuzz", p), 0, (int64_t)n, p, &e) == IIP_OK)
        for (int i = 0; i < b.streams && i < MOST_STREAMS; i++)
            if (!b.stream[i].link && jpip_boxes_stream(&b, i, b.s, &f, p, &e) == IIP_OK &&
                jpip_index_build(&ix, &f, NULL, &e) == IIP_OK) {
                ask(ix, &f);
                jpip_index_free(ix);
            }
    apr_pool_destroy(p);
    return 0;
}
