/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an EXIF block, as the source of an answer's block, and as XMP. */
#include "codec/codec.h"
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    apr_pool_t *p;
    double x = 0, y = 0;
    int o = iip_exif_orientation(data, n);
    const void *out = NULL;
    const char *text;
    size_t len = 0, m;
    iip_error e;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    iip_exif_resolution(data, n, &x, &y);
    if (o < 1 || o > 8 || !(x >= 0) || !(y >= 0))
        abort();
    text = iip_exif_text(data, n, 0x8298, &m);
    if (text && m > n)
        abort();
    apr_pool_create(&p, root);
    if (iip_exif_answer(data, n, 10, 10, n % 2 ? "(c)" : NULL, &out, &len, p, &e) != IIP_OK || len > 65527 ||
        iip_exif_orientation(out, len) != 1)
        abort();
    iip_exif_resolution(out, len, &x, &y);
    if (!(x > 9.99 && x < 10.01))
        abort();
    if (n > 0) {
        void *xmp = malloc(n);

        memcpy(xmp, data, n);
        iip_xmp_upright(xmp, n);
        free(xmp);
    }
    apr_pool_destroy(p);
    return 0;
}
