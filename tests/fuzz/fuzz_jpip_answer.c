/* SPDX-License-Identifier: Apache-2.0
 * A request (the first line) to a file of any bytes (the rest): the answer must be whole messages that continue what
 * went before, within len, ended as one; asked again with what it brought, nothing may come twice. */
#include "jpip/answer.h"
#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define MOST (1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int good)
{
    if (!good)
        abort();
}

typedef struct {
    iip_sink sink;
    unsigned char *bytes;
    size_t n;
} collect;

static iip_status collect_write(iip_sink *k, const void *p, size_t n, iip_error *e)
{
    collect *c = (collect *)k;

    check(c->n + n <= MOST + JPIP_END_BYTES);
    memcpy(c->bytes + c->n, p, n);
    c->n += n;
    return IIP_OK;
}

static iip_status open_link(void *ctx, const char *url, iip_source_t **s, apr_pool_t *p, iip_error *e)
{
    return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

/* The reason of the end. before: what the client held when it asked. */
static int check_messages(const collect *c, const jpip_query *q, const jpip_model *before)
{
    jpip_before b = {0, 0};
    jpip_message m;
    size_t at = 0, k;
    jpip_message last = {.cls = -1};

    check(c->n >= JPIP_END_BYTES && (q->len < 0 || c->n - JPIP_END_BYTES <= (size_t)q->len));
    while (at < c->n && (k = jpip_header_read(c->bytes + at, c->n - at, &m, &b))) {
        uint64_t held = jpip_model_held(before, m.cls == JPIP_METADATA ? 0 : m.stream, m.cls & ~1, m.id);

        check(m.length <= c->n - at - k && held != JPIP_WHOLE && m.offset >= held);
        if (last.cls == m.cls && last.stream == m.stream && last.id == m.id)
            check(!last.last && m.offset == last.offset + last.length);
        last = m;
        at += k + m.length;
    }
    check(at + JPIP_END_BYTES == c->n && c->bytes[at] == 0 && c->bytes[at + 2] == 0);
    check(c->bytes[at + 1] >= JPIP_IMAGE_DONE && c->bytes[at + 1] <= JPIP_RESPONSE_LIMIT);
    return c->bytes[at + 1];
}

static void answer(const char *line, const uint8_t *file, size_t n, apr_pool_t *p)
{
    iip_budget budget = {.limit = 64 << 20, .until = apr_time_now() + apr_time_from_sec(5)};
    jpip_query q;
    jpip_answer *a = apr_palloc(p, sizeof *a);
    collect c = {{collect_write}, malloc(MOST + JPIP_END_BYTES), 0};
    jpip_model *before = jpip_model_make(p);
    iip_error e;

    *a = (jpip_answer){.q = &q, .open_link = open_link, .max = MOST, .b = &budget, .p = p};
    a->s = iip_source_memory(file, n, "fuzz", p);
    if (c.bytes && before && jpip_query_parse(&q, line, NULL, p, &e) == IIP_OK && jpip_answer_target(a, &e) == IIP_OK) {
        if (q.types > 0)
            a->type = q.type[0].kind == JPIP_TYPE_RAW ? (jpip_type_wish){JPIP_TYPE_JPP, 0} : q.type[0];
        if (jpip_answer_plan(a, &e) == IIP_OK && jpip_answer_send(a, &c.sink, &e) == IIP_OK && !q.model && !q.tpmodel) {
            int reason = check_messages(&c, &q, before);

            /* The same again with what the client has now */
            if (reason == JPIP_WINDOW_DONE || reason == JPIP_IMAGE_DONE) {
                c.n = 0;
                check(jpip_answer_send(a, &c.sink, &e) != IIP_OK || c.n == JPIP_END_BYTES || q.len >= 0);
            }
        }
    }
    free(c.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    const uint8_t *end = memchr(data, '\n', n);
    apr_pool_t *p;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    if (!end)
        return 0;
    apr_pool_create(&p, root);
    answer(apr_pstrmemdup(p, (const char *)data, (apr_size_t)(end - data)), end + 1, n - (size_t)(end - data) - 1, p);
    apr_pool_destroy(p);
    return 0;
}
