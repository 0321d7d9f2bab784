/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a JPIP request, as the text of model, as a channel's record, as messages. What is accepted holds what
 * the headers promise, and a model survives packing. */
#include "jpip/model.h"
#include "jpip/target.h"
#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int good)
{
    if (!good)
        abort();
}

static iip_status expand(void *ctx, int64_t stream, const jpip_item *it, jpip_edits *l, iip_error *e)
{
    check(stream >= 0 && stream < 50 && (it->implicit || it->layers >= 0));
    return IIP_OK;
}

static void check_ranges(const jpip_ranges *r)
{
    check(r->n >= 0 && r->n <= JPIP_LIST_MAX);
    for (int i = 0; i < r->n; i++)
        check(r->at[i].a >= 0 && r->at[i].b >= r->at[i].a && r->at[i].b <= JPIP_NUMBER_MAX && r->at[i].step >= 1);
}

static void check_model(const char *text, apr_pool_t *p)
{
    jpip_geometry g = {50, 7, NULL, expand};
    jpip_edits *l = jpip_edits_make(p);
    jpip_model *m = jpip_model_make(p), *back;
    unsigned char *rec = malloc(65536);
    iip_error e;
    size_t n;

    if (m && rec && jpip_items_edits(text, &g, l, &e) == IIP_OK && jpip_model_apply(m, l, &e) == IIP_OK) {
        n = jpip_model_pack(m, rec, 65536);
        check(n <= 65536);
        if (n) {
            check(jpip_model_unpack(&back, rec, n, p, &e) == IIP_OK);
            for (int64_t s = 0; s < 50; s++)
                for (uint64_t id = 0; id < 9; id++) {
                    uint64_t held = jpip_model_held(back, s, JPIP_PRECINCT, id);

                    check(held == jpip_model_held(m, s, JPIP_PRECINCT, id) || (n > 60000 && !held));
                }
        }
    }
    free(rec);
}

static void check_query(const char *text, apr_pool_t *p)
{
    jpip_query q;
    iip_error e;
    int absolute;
    const char *path;

    if (jpip_query_parse(&q, text, NULL, p, &e) != IIP_OK) {
        check(e.part != NULL);
        return;
    }
    check(q.fx != 0 && q.fy != 0 && q.len <= JPIP_NUMBER_MAX && q.quality <= 100 && q.types <= JPIP_TYPES);
    check_ranges(&q.comps);
    check_ranges(&q.context);
    for (int i = 0; i < q.stream.n; i++)
        check(q.stream.at[i].step >= 1);
    if (q.model)
        check_model(q.model, p);
    if (q.target) {
        path = jpip_link_path(q.target, &absolute, p);
        if (path && (path = jpip_link_beside("a/b/c.jpx", path, p)))
            check(*path != '/' && strncmp(path, "../", 3) && !strstr(path, "/../"));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    apr_pool_t *p;
    const char *text;
    jpip_before b = {0, 0};
    jpip_message m;
    jpip_model *model;
    iip_error e;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&p, root);
    text = apr_pstrmemdup(p, (const char *)data, n);
    check_query(text, p);
    if (jpip_items_good(text))
        check_model(text, p);
    jpip_tile_parts_good(text);
    jpip_model_unpack(&model, data, n, p, &e);
    for (size_t at = 0, k; at < n && (k = jpip_header_read(data + at, n - at, &m, &b)); at += k)
        check(k <= n - at);
    apr_pool_destroy(p);
    return 0;
}
