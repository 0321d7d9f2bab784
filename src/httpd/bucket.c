/* SPDX-License-Identifier: Apache-2.0
 * A bucket that holds a cached answer. The bytes stay where they are however late they go out: write completion may
 * destroy the bucket on another thread, long after the handler returned; the blob's own count is atomic. */
#include "httpd/iipd.h"
#include <apr_buckets.h>

typedef struct {
    apr_bucket_refcount count; /* of the buckets one blob was split into; must be first */
    iip_blob *blob;
} blob_bucket;

static void blob_destroy(void *data)
{
    blob_bucket *h = data;

    if (apr_bucket_shared_destroy(h)) {
        iip_blob_release(h->blob);
        apr_bucket_free(h);
    }
}

static apr_status_t blob_read(apr_bucket *b, const char **str, apr_size_t *len, apr_read_type_e block)
{
    const blob_bucket *h = b->data;

    *str = (const char *)h->blob->data + b->start;
    *len = b->length;
    return APR_SUCCESS;
}

static const apr_bucket_type_t blob_type = {
    "IIP",
    5,
    APR_BUCKET_DATA,
    blob_destroy,
    blob_read,
    apr_bucket_setaside_noop,
    apr_bucket_shared_split,
    apr_bucket_shared_copy,
};

apr_bucket *iipd_bucket_blob_create(iip_blob *blob, apr_bucket_alloc_t *list)
{
    apr_bucket *b = apr_bucket_alloc(sizeof *b, list);
    blob_bucket *h = apr_bucket_alloc(sizeof *h, list);

    APR_BUCKET_INIT(b);
    b->free = apr_bucket_free;
    b->list = list;
    h->blob = blob;
    b = apr_bucket_shared_make(b, h, 0, blob->len);
    b->type = &blob_type;
    return b;
}
