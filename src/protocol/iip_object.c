/* SPDX-License-Identifier: Apache-2.0
 * Objects of the Internet Imaging Protocol: what OBJ=name tells, byte for byte (spec/iip.md section 3). Clients split
 * at the name and then at single blanks. */
#include "iip.h"
#include "json.h"
#include "pyramid.h"
#include <apr_strings.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define OWN     "application/vnd.netfpx"
#define PLAIN   "text/plain; charset=utf-8"
#define XML     "application/xml"
#define JSON    "application/json"

typedef struct {
    const iip_request *rq;
    const iip_info *info;
    iip_views *views;
    iip_text *out;
    apr_pool_t *p;
    iip_error *e;
    int lying; /* a quarter turn was asked for */
} teller;

/* 1: there was something to tell, 0: there was not, -1: t->e says why not. */
typedef int tell_fn(teller *t, int arg);

/* ---- the server ---- */

static int tell_iip(teller *t, int arg)
{
    t->out->name = "IIP";
    t->out->value = "1.0";
    return 1;
}

static int tell_constant(teller *t, int arg)
{
    static const char *const lines[] = {
        "IIP-server:3.65",
        "IIP-opt-comm:CVT CNT QLT JTL JTLS WID HEI RGN MINMAX SHD CMP INV CTW PTL WTL ATL TTL TIL ROT GAM COL CNV LYR "
        "SDS PFL SPECTRA",
        "IIP-opt-obj:Horizontal-views Vertical-views Tile-size Bits-per-channel Min-Max-sample-values Resolutions DPI "
        "Stack Metadata"};

    iip_text_print(t->out, "%s\r\n", lines[arg]);
    return 1;
}

/* ---- the picture ---- */

static int tell_size(teller *t, int arg)
{
    const int64_t w = iip_info_w(t->info), h = iip_info_h(t->info);

    iip_text_print(t->out, "Max-size:%" PRId64 " %" PRId64 "\r\n", t->lying ? h : w, t->lying ? w : h);
    return 1;
}

static int tell_tile(teller *t, int arg)
{
    iip_pyramid py;

    iip_pyramid_of(&py, t->info);
    iip_text_print(t->out, "Tile-size:%" PRId64 " %" PRId64 "\r\n", py.tile_w, py.tile_h);
    return 1;
}

static int tell_number(teller *t, int arg)
{
    iip_pyramid py;

    iip_pyramid_of(&py, t->info);
    iip_text_print(t->out, "Resolution-number:%d\r\n", py.count);
    return 1;
}

static int tell_resolutions(teller *t, int arg)
{
    iip_pyramid py;

    iip_pyramid_of(&py, t->info);
    for (int r = 0; r < py.count; r++)
        iip_text_print(t->out, "%s%" PRId64 " %" PRId64, r ? "," : "Resolutions:", py.at[r].w, py.at[r].h);
    iip_text_print(t->out, "\r\n");
    return 1;
}

static int tell_bits(teller *t, int arg)
{
    iip_text_print(t->out, "Bits-per-channel:%d\r\n", t->info->bits);
    return 1;
}

/* Fewer than 8 bits are delivered as 8. */
static int depth(const iip_info *i)
{
    return i->bits < 8 ? 8 : i->bits;
}

/* Section 6.3: what the file says, else all that its samples can hold; floats are 0 to 1. */
static void range(const iip_info *i, int band, double *lo, double *hi)
{
    const double all = (double)(UINT64_C(1) << (depth(i) < 63 ? depth(i) : 63));
    const int is_signed = i->sample == IIP_S16 || i->sample == IIP_S32;

    *lo = is_signed ? -all / 2 : 0;
    *hi = i->sample == IIP_F32 || i->sample == IIP_F64 ? 1 : is_signed ? all / 2 - 1 : all - 1;
    if (i->min && i->max) {
        *lo = (double)i->min[band];
        *hi = (double)i->max[band];
    }
}

/* "%.9g" of no locale. */
static const char *number(double v, char text[32])
{
    snprintf(text, 32, "%.9g", v);
    for (char *s = text; *s; s++)
        if (*s == ',')
            *s = '.';
    return text;
}

static int tell_range(teller *t, int arg)
{
    iip_text_print(t->out, "Min-Max-sample-values:");
    for (int b = 0; b < t->info->bands; b++) {
        double lo, hi;
        char text[2][32];

        range(t->info, b, &lo, &hi);
        iip_text_print(t->out, "%s %s  %s", b ? " " : "", number(lo, text[0]), number(hi, text[1]));
    }
    iip_text_print(t->out, "\r\n");
    return 1;
}

static int tell_across(teller *t, int arg)
{
    const int n = iip_views_count(t->views);

    for (int i = 0; i < n; i++)
        iip_text_print(t->out, "%s%d", i ? " " : "Horizontal-views:", iip_views_number(t->views, i));
    iip_text_print(t->out, "\r\n");
    return 1;
}

static int tell_down(teller *t, int arg)
{
    const iip_sequence *q = t->views->sequence;

    for (int i = 0; i < (q ? q->down : 1); i++)
        iip_text_print(t->out, "%s%d", i ? " " : "Vertical-views:", q ? q->v[i] : 90);
    iip_text_print(t->out, "\r\n");
    return 1;
}

/* Bands that are no colours count as grey, as iipsrv has it of TIFF. */
static int tell_colours(teller *t, int arg)
{
    const iip_info *i = t->info;
    const char *space = i->space == IIP_LAB                                 ? "1 0 4 3 0 1 2"
                        : i->space == IIP_GREY || i->space == IIP_MULTIBAND ? "0 0 1 1 0"
                                                                            : "0 0 3 3 0 1 2";
    iip_pyramid py;

    iip_pyramid_of(&py, i);
    iip_text_print(t->out, "Colorspace,0-%d,0:%s\r\n", py.count - 1, space);
    return 1;
}

/* In spite of its name pixels per metre: viewers make a scale bar of it. */
static int tell_dpi(teller *t, int arg)
{
    if (t->info->res_x <= 0 || t->info->res_y <= 0)
        return 0;
    iip_text_print(t->out, "DPI:%f %f\r\n", t->info->res_x * 100, t->info->res_y * 100);
    return 1;
}

/* ---- what is said of it ---- */

/* Tags of the first directory of EXIF; 0: only XMP, or nobody says it today. */
static const struct {
    const char *name;
    unsigned tag;
    const char *xmp;
} texts[] = {
    {"rights", 33432, "dc:rights"},
    {"title", 269, "dc:title"},
    {"description", 270, "dc:description"},
    {"creator", 315, "dc:creator"},
    {"keywords", 0, "dc:subject"},
    {"comment", 0, "exif:UserComment"},
    {"date", 306, "xmp:CreateDate"},
    {"software", 305, "xmp:CreatorTool"},
    {"make", 271, "tiff:Make"},
    {"model", 272, "tiff:Model"},
    {"last-author", 0, NULL},
    {"rev-number", 0, NULL},
    {"edit-time", 0, NULL},
    {"last-printed", 0, NULL},
    {"last-save-dtm", 0, "xmp:ModifyDate"},
};
enum { RIGHTS, TITLE, DESCRIPTION, CREATOR, KEYWORDS, COMMENT, DATE, SOFTWARE };

/* UTF-8, or as it lies in the file; NULL: nothing is said. IIPCopyright stands for the picture's own, as in answers. */
static const char *text_of(const teller *t, int i)
{
    const iip_info *info = t->info;
    const char *s = i == RIGHTS ? t->rq->set->copyright : NULL;
    size_t n = 0;

    if (s && *s)
        return s;
    s = NULL;
    if (texts[i].tag)
        s = iip_exif_text(info->exif, info->exif_len, texts[i].tag, &n);
    if (s && n)
        return apr_pstrmemdup(t->p, s, n);
    s = texts[i].xmp ? iip_xmp_text(info->xmp, info->xmp_len, texts[i].xmp, t->p) : NULL;
    return s || i != TITLE ? s : info->page_name;
}

/* One line: what would end it is a blank. */
static void put_line(teller *t, const char *s)
{
    char *line = apr_pstrdup(t->p, iip_text_utf8(s, t->p));

    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    iip_text_put(t->out, line, strlen(line));
    iip_text_put(t->out, "\r\n", 2);
}

static int tell_text(teller *t, int arg)
{
    const char *s = text_of(t, arg);

    if (s)
        put_line(t, s);
    return s != NULL;
}

static int tell_summary(teller *t, int arg)
{
    static const int order[] = {RIGHTS, DESCRIPTION, CREATOR, DATE, SOFTWARE};
    int told = 0;

    for (size_t i = 0; i < ROWS(order); i++)
        told |= tell_text(t, order[i]);
    return told;
}

static int tell_scale(teller *t, int arg)
{
    char text[32];

    if (t->info->page_scale == 0)
        return 0;
    iip_text_print(t->out, "%s\r\n", number(t->info->page_scale, text));
    return 1;
}

static int tell_xmp(teller *t, int arg)
{
    const iip_asked *a = t->rq->asked;

    if (!t->info->xmp_len)
        return 0;
    iip_text_put(t->out, t->info->xmp, t->info->xmp_len);
    if (a->object[1]) /* alone it is the packet as it is */
        iip_text_put(t->out, "\r\n", 2);
    return 1;
}

static int tell_metadata(teller *t, int arg)
{
    int n = 0;

    for (size_t i = 0; i < ROWS(texts); i++) {
        const char *s = text_of(t, (int)i);

        if (!s)
            continue;
        s = iip_json_quote(s, t->p);
        iip_text_print(t->out, "%s\t\"%s\": ", n++ ? ",\n" : "{ \n", texts[i].name);
        iip_text_put(t->out, s, strlen(s));
    }
    iip_text_print(t->out, "%s}\r\n", n ? "\n" : "{");
    return 1;
}

static int tell_stack(teller *t, int arg)
{
    const int n = t->views->sequence ? 0 : iip_views_count(t->views);
    iip_json j;

    iip_json_init(&j, t->p);
    iip_json_array(&j, NULL);
    for (int i = 0; i < n && n > 1; i++) {
        const iip_info *page;
        iip_blob *hold;

        if (iip_views_info(t->views, i, &page, &hold, t->e) != IIP_OK)
            return -1;
        iip_json_object(&j, NULL);
        iip_json_integer(&j, "id", i);
        iip_json_string(&j, "name", page->page_name ? page->page_name : apr_itoa(t->p, i));
        iip_json_number(&j, "scale", page->page_scale != 0 ? page->page_scale : 1);
        iip_json_end(&j);
        iip_blob_release(hold);
    }
    iip_json_end(&j);
    iip_text_put(t->out, iip_json_text(&j), strlen(iip_json_text(&j)));
    iip_text_print(t->out, "\r\n");
    return 1;
}

/* ---- the table ---- */

enum { SERVER = 1, BEGINS = 2, HOLDS = 4 }; /* needs no picture; the name begins so; it holds that word */

static int tell_basic(teller *t, int arg);

static const struct {
    const char *name;
    unsigned flags;
    const char *mime;
    tell_fn *tell;
    int arg;
} objects[] = {
    {"IIP,", SERVER | BEGINS, OWN, tell_iip, 0},
    {"IIP-server", SERVER, OWN, tell_constant, 0},
    {"IIP-opt-comm", SERVER, OWN, tell_constant, 1},
    {"IIP-opt-obj", SERVER, OWN, tell_constant, 2},
    {"basic-info", 0, OWN, tell_basic, 0},
    {"Max-size", 0, OWN, tell_size, 0},
    {"Tile-size", 0, OWN, tell_tile, 0},
    {"Resolution-number", 0, OWN, tell_number, 0},
    {"Resolutions", 0, OWN, tell_resolutions, 0},
    {"Bits-per-channel", 0, OWN, tell_bits, 0},
    {"Min-Max-sample-values", 0, OWN, tell_range, 0},
    {"Horizontal-views", 0, OWN, tell_across, 0},
    {"Vertical-views", 0, OWN, tell_down, 0},
    {"Colorspace", HOLDS, OWN, tell_colours, 0},
    {"DPI", 0, OWN, tell_dpi, 0},
    {"summary-info", 0, PLAIN, tell_summary, 0},
    {"scale", 0, PLAIN, tell_scale, 0},
    {"xmp", 0, XML, tell_xmp, 0},
    {"metadata", 0, JSON, tell_metadata, 0},
    {"stack", 0, JSON, tell_stack, 0},
};

static int tell_basic(teller *t, int arg)
{
    return tell_constant(t, 0) | tell_size(t, 0) | tell_number(t, 0) | tell_colours(t, 0);
}

static int contains(const char *s, const char *word)
{
    for (; *s; s++)
        if (!strncasecmp(s, word, strlen(word)))
            return 1;
    return 0;
}

/* A row of objects, or ROWS(objects) + a row of texts; -1: unknown. */
static int find(const char *name)
{
    for (size_t i = 0; i < ROWS(objects); i++)
        if (objects[i].flags & HOLDS    ? contains(name, objects[i].name)
            : objects[i].flags & BEGINS ? !strncasecmp(name, objects[i].name, strlen(objects[i].name))
                                        : !strcasecmp(name, objects[i].name))
            return (int)i;
    for (size_t i = 0; i < ROWS(texts); i++)
        if (!strcasecmp(name, texts[i].name))
            return (int)(ROWS(objects) + i);
    return -1;
}

int iip_object_known(const char *name)
{
    return find(name) >= 0;
}

int iip_object_needs_image(const char *name)
{
    int i = find(name);

    return i >= (int)ROWS(objects) || (i >= 0 && !(objects[i].flags & SERVER));
}

/* One of several kinds is text; XML and JSON stand alone. */
static const char *common(const char *mime, const char *one)
{
    return !mime || (strcmp(mime, one) == 0 && strcmp(one, XML) != 0 && strcmp(one, JSON) != 0) ? one : PLAIN;
}

static void put_error(teller *t, const char *code, const char *name)
{
    iip_error e;
    const char *mime, *text;

    iip_refuse_iip(&e, IIP_E_SYNTAX, code, name, t->p);
    text = iip_iip_complain(NULL, &e, &mime, t->p);
    iip_text_put(t->out, text, strlen(text));
}

iip_status iip_compose_objects(const iip_input *in, const iip_request *rq, const iip_info *info, iip_views *views,
                               iip_text *out, apr_pool_t *p, iip_error *e)
{
    const iip_asked *a = rq->asked;
    teller t = {.rq = rq, .info = info, .views = views, .out = out, .p = p, .e = e};
    const char *absent = NULL, *bad = NULL, *code = NULL;
    int told = 0;

    for (int n = 0; a->object[n]; n++) {
        const char *name = a->object[n];
        const int i = find(name), is_text = i >= (int)ROWS(objects);
        int rv;

        if (i < 0 || (!info && iip_object_needs_image(name))) {
            code = bad ? code : i < 0 ? "3 2" : "1 3";
            bad = bad ? bad : name;
            continue;
        }
        out->mime = common(out->mime, is_text ? PLAIN : objects[i].mime);
        t.lying = a->lying[n];
        rv = is_text ? tell_text(&t, i - (int)ROWS(objects)) : objects[i].tell(&t, objects[i].arg);
        if (rv < 0)
            return e->status;
        told |= rv;
        if (!rv)
            absent = name;
    }
    if (!told)
        return iip_refuse_iip(e, IIP_E_NOT_FOUND, "3 2", absent, p);
    if (bad) {
        out->mime = common(out->mime, OWN);
        put_error(&t, code, bad);
    }
    return out->status;
}
