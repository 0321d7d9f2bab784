/* SPDX-License-Identifier: Apache-2.0
 * What goes beyond the Image API: qualities of our own (R29) and members of info.json that the administrator wrote. */
#include "iiif.h"
#include "json.h"
#include "ops.h"
#include <string.h>

/* Of the colour maps all but grey, which is a quality of the API's own. */
static const struct {
    const char *name;
    iip_op_kind kind;
} extras[] = {
    {"negative", IIP_OP_INVERT}, {"stretch", IIP_OP_STRETCH}, {"equalization", IIP_OP_EQUALIZE}, {"log", IIP_OP_LOG}};
enum { EXTRAS = sizeof extras / sizeof *extras };

static const float maps[IIP_CMAP_COUNT] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
_Static_assert(IIP_CMAP_COUNT == 14, "maps has a number for each");

const char *iip_iiif_extra(int i, iip_op *op)
{
    const int map = i - EXTRAS + (i - EXTRAS >= IIP_CMAP_GREY);

    if (i < EXTRAS) {
        *op = (iip_op){.kind = (uint16_t)extras[i].kind};
        return extras[i].name;
    }
    if (map >= IIP_CMAP_COUNT)
        return NULL;
    *op = (iip_op){IIP_OP_CMAP, 1, &maps[map]};
    return iip_cmap_name(map);
}

const char *iip_iiif_extra_name(const iip_request *rq)
{
    const char *name;
    iip_op op;

    for (int i = 0; rq->op_count == 1 && (name = iip_iiif_extra(i, &op)); i++)
        if (op.kind == rq->op[0].kind && (!op.argc || op.arg[0] == rq->op[0].arg[0]))
            return name;
    return NULL;
}

static void put_raw(iip_json *j, const iip_json_member *m)
{
    char name[64];

    memcpy(name, m->name, m->name_length);
    name[m->name_length] = '\0';
    iip_json_raw(j, name, m->value, m->value_length);
}

/* Formats that are not written are left out of a list of preferred ones. */
static void put_formats(iip_json *j, const iip_json_member *m)
{
    const char *at = m->value;
    iip_json_member one = {0};

    iip_json_array(j, "preferredFormats");
    while (iip_json_next(&at, &one)) {
        char ext[16] = "";

        if (one.value_length > 2 && one.value_length < sizeof ext && *one.value == '"')
            memcpy(ext, one.value + 1, one.value_length - 2);
        if (iip_encoder_by_ext(ext))
            iip_json_string(j, NULL, ext);
    }
    iip_json_end(j);
}

const char *iip_iiif_merge(const char *text, const char *extra, int version, apr_pool_t *p)
{
    static const char formats[] = "preferredFormats";
    iip_json_member m = {.named = 1};
    const char *at = text;
    iip_json j;

    iip_json_init(&j, p);
    iip_json_object(&j, NULL);
    while (iip_json_next(&at, &m))
        if (!iip_json_has(extra, &m))
            put_raw(&j, &m);
    for (at = extra; iip_json_next(&at, &m);) {
        int list = m.name_length == sizeof formats - 1 && memcmp(m.name, formats, sizeof formats - 1) == 0;

        if (!list)
            put_raw(&j, &m);
        else if (version == 3 && *m.value == '[')
            put_formats(&j, &m);
    }
    iip_json_end(&j);
    return iip_json_text(&j);
}
