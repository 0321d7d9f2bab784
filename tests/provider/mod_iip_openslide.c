/* SPDX-License-Identifier: Apache-2.0
 * mod_iip_openslide: whole-slide files for mod_iip, through OpenSlide: Aperio .svs, Hamamatsu .ndpi and .vms, Leica
 * .scn, MIRAX .mrxs, Philips, Trestle, Ventana. An example of a decoder in a module of its own: it needs mod_iip.h and
 * no other part of mod_iip.
 *
 *     apxs -c -i -n iip_openslide $(pkg-config --cflags openslide) mod_iip_openslide.c $(pkg-config --libs openslide)
 *     LoadModule iip_openslide_module modules/mod_iip_openslide.so
 *
 * Plain tiled TIFF, which OpenSlide reads as well, is left to mod_iip: it sends stored tiles as they lie. */
#include <httpd.h>
#include <http_config.h>
#include <ap_provider.h>
#include <apr_strings.h>
#include <mod_iip.h>
#include <openslide.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CELL      512 /* of a level that says nothing about its tiles */
#define CELL_MOST 4096
#define CACHE     ((size_t)32 << 20) /* what OpenSlide keeps of decoded tiles for each open slide */

struct iip_reader {
    openslide_t *slide;
    uint32_t *px; /* a cell as OpenSlide hands it out */
    size_t room;  /* pixels */
    unsigned char background[3];
};

static iip_status fail(iip_error *e, iip_status status, const char *fmt, ...)
{
    va_list ap;

    e->status = status;
    e->apr = APR_SUCCESS;
    e->part = NULL;
    va_start(ap, fmt);
    apr_vsnprintf(e->detail, sizeof e->detail, fmt, ap);
    va_end(ap);
    return status;
}

/* Slides begin as TIFF, MIRAX' index as a JPEG, .vms is a text. Which of them are slides the name or OpenSlide tells,
 * in slide_open. */
static int slide_sniff(const unsigned char *head, size_t n)
{
    static const struct {
        const char *bytes;
        size_t n;
    } heads[] = {{"II*\0", 4}, {"MM\0*", 4},        {"II+\0", 4},
                 {"MM\0+", 4}, {"\xff\xd8\xff", 3}, {"[Virtual Microscope Specimen]", 29}};

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (n >= heads[i].n && !memcmp(head, heads[i].bytes, heads[i].n))
            return 100;
    return 0;
}

static int ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);

    return n > m && !strcasecmp(s + n - m, end);
}

/* The file we were given, whatever its name means by now; with its real name where files beside it belong to the slide.
 */
static const char *slide_path(const iip_source_t *s, const unsigned char *head, apr_pool_t *p)
{
    const char *fd = apr_psprintf(p, "/proc/self/fd/%d", s->fd);
    char path[4096];
    ssize_t n;

    if (head[0] == 'I' || head[0] == 'M')
        return fd;
    if (head[0] == 0xff && !ends_with(s->name, ".mrxs"))
        return NULL;
    n = readlink(fd, path, sizeof path);
    return n > 0 && (size_t)n < sizeof path ? apr_pstrmemdup(p, path, (apr_size_t)n) : NULL;
}

static apr_status_t slide_close(void *reader)
{
    iip_reader_t *r = reader;

    openslide_close(r->slide);
    free(r->px);
    return APR_SUCCESS;
}

static const char *property(const iip_reader_t *r, const char *name)
{
    return openslide_get_property_value(r->slide, name);
}

static iip_status slide_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                             iip_error *e)
{
    unsigned char head[4];
    const char *path, *vendor, *colour;
    iip_reader_t *r;
    iip_status rv;
    long rgb;

    if ((rv = s->read(s, head, sizeof head, 0, e)) != IIP_OK)
        return rv;
    path = s->fd < 0 ? NULL : slide_path(s, head, p);
    vendor = path ? openslide_detect_vendor(path) : NULL;
    if (!vendor || !strcmp(vendor, "generic-tiff"))
        return fail(e, IIP_E_FORMAT, "%s: no slide", s->name);
    if (page > 0)
        return fail(e, IIP_E_NOT_FOUND, "a slide has one page");
    r = apr_pcalloc(p, sizeof *r);
    if (!(r->slide = openslide_open(path)))
        return fail(e, IIP_E_FORMAT, "%s: no slide", s->name);
    apr_pool_cleanup_register(p, r, slide_close, apr_pool_cleanup_null);
    if (openslide_get_error(r->slide))
        return fail(e, IIP_E_CORRUPT, "OpenSlide: %s", openslide_get_error(r->slide));
    if (openslide_get_level_count(r->slide) < 1)
        return fail(e, IIP_E_FORMAT, "a slide without levels");
    colour = property(r, OPENSLIDE_PROPERTY_NAME_BACKGROUND_COLOR);
    rgb = colour ? strtol(colour, NULL, 16) : 0xffffff;
    for (int i = 0; i < 3; i++)
        r->background[i] = (unsigned char)(rgb >> (16 - 8 * i));
    *out = r;
    return IIP_OK;
}

/* A length of the level's tiles. */
static int64_t cell(const iip_reader_t *r, int level, const char *which, apr_pool_t *p)
{
    const char *text = property(r, apr_psprintf(p, "openslide.level[%d].tile-%s", level, which));
    const int64_t n = text ? apr_atoi64(text) : CELL;

    return n >= 64 && n <= CELL_MOST ? n : CELL;
}

static double per_cm(const iip_reader_t *r, const char *name)
{
    const char *text = property(r, name);
    const double mpp = text ? strtod(text, NULL) : 0; /* micrometres a pixel */

    return mpp > 1e-6 && mpp < 1e6 ? 10000 / mpp : 0;
}

static iip_status slide_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const int stored = openslide_get_level_count(r->slide);

    for (int i = 0; i < stored && i < IIP_MAX_LEVELS; i++) {
        iip_level *l = &out->level[i];

        openslide_get_level_dimensions(r->slide, i, &l->w, &l->h);
        if (l->w < 1 || l->h < 1 || l->w > IIP_MAX_SIDE || l->h > IIP_MAX_SIDE)
            return fail(e, IIP_E_FORMAT, "level %d of a slide has no size", i);
        if (i > 0 && (l->w >= l[-1].w || l->h >= l[-1].h))
            break; /* the list ends before one that is not smaller */
        l->tile_w = cell(r, i, "width", p);
        l->tile_h = cell(r, i, "height", p);
        out->levels = i + 1;
    }
    out->virtual_from = out->levels;
    out->tiled = 1;
    out->pages = 1;
    out->bands = 3;
    out->bits = 8;
    out->sample = IIP_U8;
    out->space = IIP_RGB;
    out->orientation = 1;
    out->layers = 1;
    out->hold = CACHE;
    out->decode_cost = 2;
    out->res_x = per_cm(r, OPENSLIDE_PROPERTY_NAME_MPP_X);
    out->res_y = per_cm(r, OPENSLIDE_PROPERTY_NAME_MPP_Y);
    return IIP_OK;
}

/* Colours come multiplied by their alpha, in a word each: over the slide's background. */
static void over_background(const iip_reader_t *r, const uint32_t *in, unsigned char *out, int64_t n)
{
    for (; n > 0; n--, in++)
        for (int i = 0; i < 3; i++) {
            const unsigned rest = 255 - (*in >> 24), c = *in >> (16 - 8 * i) & 255;
            const unsigned v = c + (r->background[i] * rest + 127) / 255;

            *out++ = (unsigned char)(v < 255 ? v : 255);
        }
}

static iip_status slide_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    const double down = openslide_get_level_downsample(r->slide, level);
    const size_t n = (size_t)want.w * (size_t)want.h; /* of a cell: the caller keeps it below IIP_MAX_CELL */

    if (n > r->room) {
        uint32_t *px = realloc(r->px, n * sizeof *px);

        if (!px)
            return fail(e, IIP_E_MEMORY, "no memory for %" APR_SIZE_T_FMT " pixels of a slide", n);
        r->px = px;
        r->room = n;
    }
    /* It takes places of the full resolution and pixels of the level. */
    openslide_read_region(r->slide, r->px, (int64_t)((double)want.x * down + 0.5),
                          (int64_t)((double)want.y * down + 0.5), level, want.w, want.h);
    if (openslide_get_error(r->slide))
        return fail(e, IIP_E_CORRUPT, "OpenSlide: %s", openslide_get_error(r->slide));
    for (int64_t y = 0; y < want.h; y++)
        over_background(r, r->px + y * want.w, out->px + (size_t)y * out->stride, want.w);
    return IIP_OK;
}

static const iip_decoder decoder = {
    .abi = IIP_CODEC_ABI,
    .name = "openslide",
    .flags = IIP_DEC_PICKS | IIP_DEC_TRUSTED, /* a MIRAX index names the files to be read */
    .priority = 200,                          /* before TIFF and JPEG, which get what it refuses */
    .sniff = slide_sniff,
    .open = slide_open,
    .info = slide_info,
    .read = slide_read,
};

static void register_hooks(apr_pool_t *p)
{
    ap_register_provider(p, IIP_DECODER_GROUP, "openslide", IIP_DECODER_VERSION, &decoder);
}

AP_DECLARE_MODULE(iip_openslide)
= {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, AP_MODULE_FLAG_NONE};
