/* SPDX-License-Identifier: Apache-2.0
 * A decoder that crashes, for the tests of what then happens. A file is "IIPCRASH WORD\n", its picture a grey square of
 * 64 pixels; WORD says what reading does: good, slow (takes two seconds), segv, fpe, ill, abort, stack (never ends);
 * header: opening faults. */
#include <httpd.h>
#include <http_config.h>
#include <ap_provider.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "mod_iip.h"

#define SIDE  64
#define MAGIC "IIPCRASH "

struct iip_reader {
    char word[16];
};

static int sniff(const unsigned char *head, size_t n)
{
    return n > sizeof MAGIC && !memcmp(head, MAGIC, sizeof MAGIC - 1) ? 100 : 0;
}

static volatile int zero;
static volatile char *nowhere;

/* As deep as the stack goes; what it returns needs all of it. */
static int __attribute__((noinline)) deeper(volatile char *above)
{
    volatile char here[512] = {0};

    here[0] = (char)(*above + 1);
    return here[1] == 7 && *above == 9 ? 0 : deeper(here) + here[0];
}

static void happen(const char *word)
{
    volatile char first = 0;

    if (!strcmp(word, "slow")) {
        prctl(PR_SET_NAME, "iip-slow"); /* so that it is seen from outside */
        sleep(2);
        prctl(PR_SET_NAME, "iip-done");
    } else if (!strcmp(word, "segv"))
        *nowhere = 1;
    else if (!strcmp(word, "fpe"))
        zero = 7 / zero;
    else if (!strcmp(word, "ill"))
        __builtin_trap();
    else if (!strcmp(word, "abort"))
        abort();
    else if (!strcmp(word, "stack"))
        zero = deeper(&first);
}

static iip_status open_it(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                          iip_error *e)
{
    const size_t skip = sizeof MAGIC - 1;
    iip_status rv;

    *r = apr_pcalloc(p, sizeof **r);
    if (s->id.size <= (int64_t)skip || s->id.size >= (int64_t)(skip + sizeof(*r)->word))
        return IIP_E_FORMAT;
    if ((rv = s->read(s, (*r)->word, (size_t)s->id.size - skip, (int64_t)skip, e)) != IIP_OK)
        return rv;
    (*r)->word[strcspn((*r)->word, "\n")] = '\0';
    if (!strcmp((*r)->word, "header"))
        happen("segv");
    return IIP_OK;
}

static iip_status info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    out->level[0] = (iip_level){.w = SIDE, .h = SIDE, .tile_w = SIDE, .tile_h = SIDE};
    out->levels = out->virtual_from = out->pages = out->bands = out->orientation = out->layers = out->tiled = 1;
    out->bits = 8;
    out->sample = IIP_U8;
    out->space = IIP_GREY;
    out->decode_cost = 1;
    return IIP_OK;
}

static iip_status read_it(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    happen(r->word);
    for (int64_t y = 0; y < want.h; y++)
        memset(out->px + (size_t)y * out->stride, 128, (size_t)want.w);
    return IIP_OK;
}

static const iip_decoder decoder = {
    .abi = IIP_CODEC_ABI,
    .name = "crash",
    .priority = 200,
    .sniff = sniff,
    .open = open_it,
    .info = info,
    .read = read_it,
};

static void register_hooks(apr_pool_t *p)
{
    ap_register_provider(p, IIP_DECODER_GROUP, "crash", IIP_DECODER_VERSION, &decoder);
}

AP_DECLARE_MODULE(iip_crash)
= {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, AP_MODULE_FLAG_NONE};
