/* SPDX-License-Identifier: Apache-2.0
 * iip check: what a picture is, what the dearest tile of it costs a server, and the command that makes it cheap.
 *
 * The verdict goes by what the file is made of, so that it is the same on every machine; only the milliseconds are
 * measured. Of each level so many cells are read, evenly spread, and the last one alone by a reader that knows nothing:
 * so a visitor's first request comes, and formats without tiles then decode all that stands before. */
#include "codec/jp2.h"
#include "json.h"
#include "serve.h"
#include "cache/readers.h"
#include "tool/tool.h"
#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CELLS      64               /* read of each level */
#define LEVEL_TIME 4000000          /* microseconds, then no more are read */
#define SMALL      INT64_C(4194304) /* pixels that may be decoded for any one view */
#define TILE_LEAST 256              /* sides of tiles that a viewer can ask for as they are (spec/iiif.md R39) */
#define TILE_MOST  2048
#define STEP_MOST  4 /* between sides of neighbouring levels */
#define OVERVIEW   512

typedef enum { GOOD, SLOW, REFUSED } verdict;
static const char *const verdicts[] = {"good", "slow", "refused"};

typedef struct {
    iip_server_t *sv;
    iip_readers_t *rs; /* keeps none: each is new */
    iip_settings set;
    iip_limits lim;
    apr_hash_t *outputs; /* names that commands write to */
    int json, any, bad;
} checker;

typedef struct {
    checker *c;
    apr_pool_t *p;
    const char *path; /* as it was given or found */
    iip_source_t *src;
    const char *format;
    const iip_info *info; /* upright */
    iip_info stored;
    iip_lease *lease;
    unsigned char *cell;
    size_t room;
    double ms[IIP_MAX_LEVELS]; /* the dearest cell of each level; the last one's: or all of it, if that is more */
    const char *parts;         /* NULL: none */
    int64_t part_w, part_h;
    verdict verdict;
    const char *reason, *command;
    iip_status refused; /* why */
} picture;

/* ---- verdicts ---- */

static void judge(picture *k, verdict v, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void judge(picture *k, verdict v, const char *fmt, ...)
{
    va_list ap;

    k->verdict = v;
    va_start(ap, fmt);
    k->reason = apr_pvsprintf(k->p, fmt, ap);
    va_end(ap);
}

static void refuse(picture *k, const iip_error *e)
{
    const char *why = *e->detail ? e->detail : e->part ? e->part : iip_status_text(e->status);
    const size_t n = k->src ? strlen(k->src->name) : 0;

    k->refused = e->status;
    if (n && !strncmp(why, k->src->name, n) && !strncmp(why + n, ": ", 2)) /* that stands there already */
        why += n + 2;
    judge(k, REFUSED, "%s", why);
}

/* Is a side of tiles, or of what is read like them, of use as it is? */
static int side_fits(int64_t side, int64_t picture_side)
{
    return side <= TILE_MOST && (side >= TILE_LEAST || side >= picture_side);
}

/* What can be decoded by itself: tiles, of JPEG 2000 in one tile its precincts, or all there is. */
static void find_parts(picture *k)
{
    const iip_level *full = &k->info->level[0];
    iip_jp2_file file = {0};
    iip_jp2_head h = {0};
    iip_error e;

    if (k->info->tiled) {
        k->parts = "tiles";
        k->part_w = full->tile_w;
        k->part_h = full->tile_h;
    }
    /* the cells of its tiles may be groups or windows */
    if (strcmp(k->format, "jp2") || iip_jp2_open(&file, k->src, k->p, &e) != IIP_OK ||
        iip_jp2_head_read(&h, &file, 0, k->p, &e) != IIP_OK)
        return;
    if (h.columns * h.rows > 1) {
        k->part_w = h.tw / h.dx;
        k->part_h = h.th / h.dy;
    } else if (!h.ht) { /* all of an HT tile is decoded at once */
        const int size = h.coding[0].precinct[h.coding[0].levels];

        k->part_w = INT64_C(1) << (size & 15);
        k->part_h = INT64_C(1) << (size >> 4);
        k->parts = k->part_w <= TILE_MOST && k->part_h <= TILE_MOST ? "precincts" : NULL;
    }
}

static void judge_shape(picture *k)
{
    const iip_info *i = k->info;
    const iip_level *full = &i->level[0], *least = &i->level[i->levels - 1];

    if (full->w * full->h <= SMALL)
        return;
    if (!k->parts) {
        judge(k, SLOW, "without tiles%s one view may decode all of its %" PRId64 " x %" PRId64 " pixels",
              strcmp(k->format, "jp2") ? "" : " and precincts", full->w, full->h);
        return;
    }
    if (k->parts && !(side_fits(k->part_w, full->w) && side_fits(k->part_h, full->h))) {
        judge(k, SLOW, "%s of %" PRId64 " x %" PRId64 " are not what viewers ask for, %d to %d would be", k->parts,
              k->part_w, k->part_h, TILE_LEAST, TILE_MOST);
        return;
    }
    for (int n = 1; n < i->levels; n++)
        if (i->level[n].w * STEP_MOST < i->level[n - 1].w && i->level[n - 1].w * i->level[n - 1].h > SMALL) {
            judge(k, SLOW, "there is no level between %" PRId64 " and %" PRId64 " pixels of width", i->level[n - 1].w,
                  i->level[n].w);
            return;
        }
    if (least->w * least->h > SMALL)
        judge(k, SLOW, "there is no level below %" PRId64 " x %" PRId64 ", an overview decodes all of it", least->w,
              least->h);
}

/* What a server with the default limits would say to an overview and to a tile in the middle. */
static void judge_limits(picture *k)
{
    const iip_level *full = &k->info->level[0];
    iip_request rq;
    iip_error e = {0};

    for (int tile = 0; tile < 2; tile++) {
        iip_request_init(&rq, &k->c->set);
        rq.format = IIP_FMT_JPEG;
        rq.grow = IIP_GROW_CLAMP;
        if (tile) {
            const int64_t w = full->w < OVERVIEW ? full->w : OVERVIEW, h = full->h < OVERVIEW ? full->h : OVERVIEW;

            rq.region_kind = IIP_REGION_PIXELS;
            rq.region[0].num = (full->w - w) / 2;
            rq.region[1].num = (full->h - h) / 2;
            rq.region[2].num = w;
            rq.region[3].num = h;
        } else {
            rq.size_kind = IIP_SIZE_FIT;
            rq.size[0].num = rq.size[1].num = OVERVIEW;
        }
        if (iip_request_resolve(&rq, k->info, &k->c->lim, &e) != IIP_OK) {
            refuse(k, &e);
            return;
        }
    }
}

/* ---- what it costs ---- */

static iip_status read_cell(picture *k, int level, int64_t number, iip_error *e)
{
    const iip_level *l = &k->stored.level[level];
    const int64_t across = (l->w + l->tile_w - 1) / l->tile_w;
    iip_rect at = {number % across * l->tile_w, number / across * l->tile_h, l->tile_w, l->tile_h};
    iip_raster out = {.bands = k->stored.bands, .sample = k->stored.sample};

    at.w = l->w - at.x < at.w ? l->w - at.x : at.w;
    at.h = l->h - at.y < at.h ? l->h - at.y : at.h;
    out.w = at.w;
    out.h = at.h;
    out.stride = (size_t)at.w * (size_t)out.bands * iip_sample_size(out.sample); /* all of it at most IIP_MAX_CELL */
    if (k->room < out.stride * (size_t)at.h) {
        free(k->cell);
        k->room = out.stride * (size_t)at.h;
        if (!(k->cell = malloc(k->room)))
            return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a cell");
    }
    out.px = k->cell;
    return k->lease->dec->read(k->lease->reader, level, at, -1, &out, e);
}

static void give(picture *k)
{
    iip_readers_give(k->c->rs, k->lease, 0, 0);
    k->lease = NULL;
}

static iip_status take(picture *k, iip_error *e)
{
    return iip_readers_take(k->c->rs, k->src, -1, &k->c->lim, &k->lease, e);
}

static iip_status measure_level(picture *k, int level, iip_error *e)
{
    const iip_level *l = &k->stored.level[level];
    const int64_t cells = ((l->w + l->tile_w - 1) / l->tile_w) * ((l->h + l->tile_h - 1) / l->tile_h);
    const int64_t most = cells < CELLS ? cells : CELLS;
    apr_time_t begin = apr_time_now(), before, all = 0, dear;
    int64_t done = 0;
    iip_status rv;

    if ((rv = take(k, e)) != IIP_OK || (rv = read_cell(k, level, cells - 1, e)) != IIP_OK)
        return rv;
    dear = apr_time_now() - begin;
    give(k);
    if ((rv = take(k, e)) != IIP_OK)
        return rv;
    begin = apr_time_now();
    while (done < most && all < LEVEL_TIME) {
        apr_time_t took;

        before = apr_time_now();
        if ((rv = read_cell(k, level, most > 1 ? done * (cells - 1) / (most - 1) : 0, e)) != IIP_OK)
            return rv;
        took = apr_time_now() - before;
        dear = took > dear ? took : dear;
        all += took;
        done++;
    }
    give(k);
    k->ms[level] = (double)dear / 1e3;
    if (level == k->stored.levels - 1 && (double)all * (double)cells / (double)done / 1e3 > k->ms[level])
        k->ms[level] = (double)all * (double)cells / (double)done / 1e3;
    return IIP_OK;
}

static iip_status measure(picture *k, iip_error *e)
{
    iip_status rv = take(k, e);

    if (rv == IIP_OK)
        rv = k->lease->dec->info(k->lease->reader, &k->stored, k->p, e);
    if (k->lease)
        give(k);
    for (int level = 0; level < k->stored.levels && rv == IIP_OK; level++)
        rv = measure_level(k, level, e);
    if (k->lease)
        give(k);
    return rv;
}

static double dearest(const picture *k)
{
    double ms = 0;

    for (int i = 0; i < k->stored.levels; i++)
        ms = k->ms[i] > ms ? k->ms[i] : ms;
    return ms;
}

/* ---- the command ---- */

/* A word that means itself to the shell. */
static const char *quoted(const char *s, apr_pool_t *p)
{
    char *out, *o;

    if (*s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,=:@%")])
        return s;
    out = o = apr_palloc(p, 4 * strlen(s) + 3);
    *o++ = '\'';
    for (; *s; s++) {
        if (*s == '\'') {
            memcpy(o, "'\\'", 3);
            o += 3;
        }
        *o++ = *s;
    }
    *o++ = '\'';
    *o = '\0';
    return out;
}

/* NAME-iip.tif beside the file; NAME is without its suffix as long as no other command writes there. */
static const char *output_name(picture *k, const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    apr_pool_t *keep = apr_hash_pool_get(k->c->outputs);
    const char *out;

    if (!dot || dot <= (slash ? slash + 1 : path))
        dot = path + strlen(path);
    out = apr_psprintf(keep, "%.*s-iip.tif", (int)(dot - path), path);
    if (apr_hash_get(k->c->outputs, out, APR_HASH_KEY_STRING))
        out = apr_pstrcat(keep, path, "-iip.tif", NULL);
    apr_hash_set(k->c->outputs, out, APR_HASH_KEY_STRING, out);
    return out;
}

/* vips takes a file's name with options in brackets behind it. */
static const char *input_name(const picture *k, const char *path)
{
    const size_t n = strlen(path);

    if (k->info && k->info->orientation > 1 && (!strcmp(k->format, "tiff") || !strcmp(k->format, "jpeg")))
        return apr_pstrcat(k->p, path, "[autorotate]", NULL);
    return path[n - 1] == ']' ? apr_pstrcat(k->p, path, "[]", NULL) : path;
}

static void find_command(picture *k)
{
    const iip_info *i = k->info;
    const char *path = *k->path == '-' ? apr_pstrcat(k->p, "./", k->path, NULL) : k->path;
    /* JPEG where it shows the picture as it is; the rest keeps every value */
    const int lossy = i && i->sample == IIP_U8 && i->space <= IIP_RGB && !i->alpha && !i->bilevel;
    const int real = i && (i->sample == IIP_F32 || i->sample == IIP_F64);

    k->command = apr_psprintf(k->p,
                              "vips tiffsave %s %s --tile --pyramid --tile-width 256 --tile-height 256 --bigtiff "
                              "--compression %s",
                              quoted(input_name(k, path), k->p), quoted(output_name(k, path), k->p),
                              lossy  ? "jpeg --Q 90"
                              : real ? "deflate --predictor float"
                                     : "deflate --predictor horizontal");
}

/* ---- what is said ---- */

static const char *colour_word(const picture *k)
{
    static const char *const words[] = {
        [IIP_GREY] = "grey", [IIP_RGB] = "rgb", [IIP_LAB] = "cielab", [IIP_CMYK] = "cmyk"};
    const iip_info *i = k->info;
    const char *word =
        i->space == IIP_MULTIBAND ? apr_psprintf(k->p, "%d bands", i->bands - i->alpha) : words[i->space];

    return i->alpha ? apr_pstrcat(k->p, word, " with alpha", NULL) : word;
}

static const char *sample_word(const iip_info *i)
{
    return i->sample == IIP_F32 || i->sample == IIP_F64   ? " float"
           : i->sample == IIP_S16 || i->sample == IIP_S32 ? " signed"
                                                          : "";
}

static const char *parts_text(const picture *k)
{
    return k->parts ? apr_psprintf(k->p, "%s %" PRId64 "x%" PRId64, k->parts, k->part_w, k->part_h) : "no tiles";
}

/* A name as one piece of one line. */
static const char *printable(const char *s, apr_pool_t *p)
{
    char *out = apr_pstrdup(p, s);

    for (char *c = out; *c; c++)
        if (apr_iscntrl(*c))
            *c = '?';
    return out;
}

static void print_text(const picture *k)
{
    printf("%s: ", printable(k->path, k->p));
    if (k->info) {
        const iip_info *i = k->info;
        const int made = i->levels - i->virtual_from;

        printf("%s, %" PRId64 "x%" PRId64 ", %d level%s", k->format, i->level[0].w, i->level[0].h, i->virtual_from,
               i->virtual_from == 1 ? "" : "s");
        if (made > 0)
            printf(" and %d by scaling", made);
        printf(", %s, %d bit%s %s, ", parts_text(k), i->bits, sample_word(i), colour_word(k));
        if (dearest(k) > 0)
            printf("%.1f ms, ", dearest(k));
    }
    printf("%s%s%s%s%s\n", verdicts[k->verdict], k->reason ? ": " : "", k->reason ? printable(k->reason, k->p) : "",
           k->command ? "; run: " : "", k->command ? k->command : "");
}

static void print_json(const picture *k)
{
    iip_json j;

    iip_json_init(&j, k->p);
    iip_json_object(&j, NULL);
    iip_json_string(&j, "file", k->path);
    iip_json_string(&j, "verdict", verdicts[k->verdict]);
    if (k->reason)
        iip_json_string(&j, "reason", k->reason);
    if (k->command)
        iip_json_string(&j, "command", k->command);
    if (k->info) {
        const iip_info *i = k->info;

        iip_json_string(&j, "format", k->format);
        iip_json_integer(&j, "width", i->level[0].w);
        iip_json_integer(&j, "height", i->level[0].h);
        iip_json_integer(&j, "pages", i->pages);
        iip_json_string(&j, "parts", parts_text(k));
        iip_json_integer(&j, "bits", i->bits);
        iip_json_string(&j, "colour", colour_word(k));
        iip_json_number(&j, "milliseconds", dearest(k));
        iip_json_integer(&j, "storedLevels", i->virtual_from);
        iip_json_array(&j, "levels");
        for (int n = 0; n < i->levels; n++) {
            iip_json_object(&j, NULL);
            iip_json_integer(&j, "width", i->level[n].w);
            iip_json_integer(&j, "height", i->level[n].h);
            iip_json_integer(&j, "cellWidth", i->level[n].tile_w);
            iip_json_integer(&j, "cellHeight", i->level[n].tile_h);
            iip_json_number(&j, "milliseconds", k->ms[n]);
            iip_json_end(&j);
        }
        iip_json_end(&j);
    }
    iip_json_end(&j);
    printf("%s%s", k->c->any ? ",\n " : "[", iip_json_text(&j));
}

/* ---- files ---- */

/* 0: no decoder knows it by its first bytes. */
static int is_picture(iip_source_t *s, iip_error *e)
{
    unsigned char head[IIP_SNIFF];
    size_t n = s->id.size < IIP_SNIFF ? (size_t)s->id.size : IIP_SNIFF;

    return s->read(s, head, n, 0, e) != IIP_OK || iip_decoder_find(head, n) != NULL;
}

static void examine(picture *k, int known)
{
    iip_blob *hold = NULL;
    iip_error e = {0};

    if (iip_serve_info(k->c->sv, k->src, -1, &k->c->lim, &k->info, &hold, &e) != IIP_OK || take(k, &e) != IIP_OK) {
        refuse(k, &e);
    } else {
        k->format = k->lease->dec->name;
        give(k);
        find_parts(k);
        judge_shape(k);
        judge_limits(k);
        if (k->verdict != REFUSED && measure(k, &e) != IIP_OK)
            refuse(k, &e);
    }
    if (k->verdict == SLOW ||
        (k->verdict == REFUSED && known &&
         (k->refused == IIP_E_FORMAT || k->refused == IIP_E_FEATURE || k->refused == IIP_E_LIMIT)))
        find_command(k);
    if (k->c->json)
        print_json(k);
    else
        print_text(k);
    k->c->any = 1;
    k->c->bad |= k->verdict != GOOD;
    if (hold)
        iip_blob_release(hold);
    free(k->cell);
}

/* named: on the command line, not found in a folder. */
static void check_file(checker *c, const char *path, int named, apr_pool_t *parent)
{
    picture k = {.c = c, .path = path};
    char *full;
    iip_error e = {0};

    apr_pool_create(&k.p, parent);
    if (apr_filepath_merge(&full, NULL, path, APR_FILEPATH_TRUENAME, k.p) != APR_SUCCESS)
        full = apr_pstrdup(k.p, path);
    if (iip_source_file(&k.src, NULL, full, k.p, &e) != IIP_OK) {
        refuse(&k, &e);
        if (c->json)
            print_json(&k);
        else
            print_text(&k);
        c->any = c->bad = 1;
    } else {
        const int known = is_picture(k.src, &e);

        if (known || named)
            examine(&k, known);
    }
    fflush(stdout);
    apr_pool_destroy(k.p);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Links to folders are not followed: they may lead back. */
static void check_folder(checker *c, const char *path, apr_pool_t *parent)
{
    apr_array_header_t *names;
    apr_pool_t *p;
    apr_finfo_t found;
    apr_dir_t *dir;
    const size_t n = strlen(path);

    apr_pool_create(&p, parent);
    names = apr_array_make(p, 64, sizeof(char *));
    if (apr_dir_open(&dir, path, p) == APR_SUCCESS) {
        while (apr_dir_read(&found, APR_FINFO_NAME, dir) == APR_SUCCESS)
            if (*found.name != '.') /* never served */
                APR_ARRAY_PUSH(names, char *) =
                    apr_pstrcat(p, path, n && path[n - 1] == '/' ? "" : "/", found.name, NULL);
        apr_dir_close(dir);
    }
    qsort(names->elts, (size_t)names->nelts, sizeof(char *), by_name);
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, char *);
        struct stat st, link;

        if (stat(name, &st) != 0 || lstat(name, &link) != 0)
            continue;
        if (S_ISDIR(link.st_mode))
            check_folder(c, name, p);
        else if (S_ISREG(st.st_mode))
            check_file(c, name, 0, p);
    }
    apr_pool_destroy(p);
}

int iip_check(int argc, const char *const *argv)
{
    iip_server_settings server, server_in_force;
    iip_settings raw;
    checker c = {0};
    apr_pool_t *p;
    int first = 1;
    struct stat st;

    if (argc > 1 && !strcmp(argv[1], "--json")) {
        c.json = 1;
        first = 2;
    }
    if (argc > first && !strcmp(argv[first], "--"))
        first++;
    else if (argc > first && *argv[first] == '-')
        first = argc;
    if (argc <= first) {
        fprintf(stderr, "usage: iip check [--json] [--] PATH...\n");
        return 2;
    }
    apr_pool_create(&p, NULL);
    iip_settings_init(p);
    iip_settings_unset(&raw);
    iip_settings_effective(&c.set, &raw);
    iip_settings_limits(&c.lim, &c.set);
    iip_server_settings_unset(&server);
    iip_server_settings_effective(&server_in_force, &server);
    c.sv = iip_server_create(&server_in_force, p);
    c.rs = iip_readers_create(0, p);
    c.outputs = apr_hash_make(p);
    if (!c.sv || !c.rs) {
        fprintf(stderr, "iip: no memory\n");
        return 2;
    }
    for (int i = first; i < argc; i++)
        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
            check_folder(&c, argv[i], p);
        else
            check_file(&c, argv[i], 1, p);
    if (c.json)
        printf(c.any ? "]\n" : "[]\n");
    iip_readers_clear(c.rs);
    iip_server_destroy(c.sv);
    apr_pool_destroy(p);
    return c.bad;
}
