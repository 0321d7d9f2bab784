/* SPDX-License-Identifier: Apache-2.0
 * For the JPEG 2000 tests: code-streams made by OpenJPEG used plainly, boxes put around them here (T.800 annex I), and
 * OpenJPEG's decode of a whole picture at a resolution. */
#ifndef JP2_PLAIN_H
#define JP2_PLAIN_H
#include "codec_cases.h"
#include <openjpeg.h>

#define MOST_COMPS 8

typedef struct {
    int dx, dy, bits, sign;
} comp;

/* What a code-stream is made of. */
typedef struct {
    const char *name;
    int w, h, x0, y0;     /* of the picture on the reference grid: x0 .. x0 + w */
    int tw, th, tx0, ty0; /* tiles; 0 = one */
    int comps;
    comp comp[MOST_COMPS];            /* those of dx 0: 1, 1, 8, 0 */
    int lossy, mct, levels, order;    /* levels: resolutions, 0 = 6; order: OPJ_LRCP .. */
    int precinct, block, style, csty; /* 0 = the usual */
    float rate[4];                    /* of each layer; none = lossless */
    int parts;                        /* letter by which tiles come in parts */
    int plt;                          /* with PLT segments */
    int poc;                          /* with a progression order change */
} recipe;

/* A folder of this process alone, for tools that work on files: the same test may run twice at once. Its name in top
 * (of 32). */
static UNUSED void tool_folder(char *top)
{
    assert_int_equal(system("mkdir -p build/tmp"), 0);
    strcpy(top, "build/tmp/jp2-XXXXXX");
    assert_non_null(mkdtemp(top));
}

static UNUSED void tool_folder_gone(const char *top)
{
    char command[64];

    snprintf(command, sizeof command, "rm -r %s", top);
    assert_int_equal(system(command), 0);
}

typedef struct {
    bytes b;
    size_t at;
} memory_file;

static UNUSED OPJ_SIZE_T mem_write(void *p, OPJ_SIZE_T n, void *user)
{
    memory_file *m = user;

    if (m->at + n > m->b.n) {
        m->b.p = realloc(m->b.p, m->at + n);
        m->b.n = m->at + n;
    }
    memcpy(m->b.p + m->at, p, n);
    m->at += n;
    return n;
}

static UNUSED OPJ_SIZE_T mem_read(void *p, OPJ_SIZE_T n, void *user)
{
    memory_file *m = user;

    n = n < m->b.n - m->at ? n : m->b.n - m->at;
    memcpy(p, m->b.p + m->at, n);
    m->at += n;
    return n ? n : (OPJ_SIZE_T)-1;
}

static UNUSED OPJ_OFF_T mem_skip(OPJ_OFF_T n, void *user)
{
    ((memory_file *)user)->at += (size_t)n;
    return n;
}

static UNUSED OPJ_BOOL mem_seek(OPJ_OFF_T n, void *user)
{
    ((memory_file *)user)->at = (size_t)n;
    return OPJ_TRUE;
}

static opj_stream_t *mem_stream(memory_file *m, OPJ_BOOL input)
{
    opj_stream_t *s = opj_stream_default_create(input);

    opj_stream_set_user_data(s, m, NULL);
    opj_stream_set_user_data_length(s, m->b.n);
    opj_stream_set_read_function(s, mem_read);
    opj_stream_set_write_function(s, mem_write);
    opj_stream_set_skip_function(s, mem_skip);
    opj_stream_set_seek_function(s, mem_seek);
    return s;
}

static void on_text(const char *text, void *user)
{
    if (user)
        fprintf(stderr, "%s", text);
}

static int64_t up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static comp comp_of(const recipe *k, int c)
{
    return k->comp[c].dx ? k->comp[c] : (comp){1, 1, 8, 0};
}

/* Ramps, edges and some noise. */
static int32_t sample_of(const recipe *k, int c, int64_t x, int64_t y)
{
    const comp q = comp_of(k, c);
    const int64_t top = (INT64_C(1) << q.bits) - 1;
    uint32_t n = (uint32_t)(x * 73856093 ^ y * 19349663 ^ c * 83492791);
    int64_t v = ((x * (c + 2) + y * (3 - c % 3)) * top / 400 + ((x / 17 ^ y / 11 ^ c) & 1) * top / 5) % (top + 1);

    n ^= n >> 13;
    n *= 0x5bd1e995u;
    v += (int64_t)((n ^ n >> 15) & 255) * top / 2550;
    v = v > top ? top : v;
    return (int32_t)(q.sign ? v - (top + 1) / 2 : v);
}

static UNUSED opj_image_t *picture_of(const recipe *k)
{
    opj_image_cmptparm_t par[MOST_COMPS] = {{0}};
    opj_image_t *im;

    for (int c = 0; c < k->comps; c++) {
        const comp q = comp_of(k, c);

        par[c].dx = (OPJ_UINT32)q.dx;
        par[c].dy = (OPJ_UINT32)q.dy;
        par[c].x0 = (OPJ_UINT32)k->x0;
        par[c].y0 = (OPJ_UINT32)k->y0;
        par[c].w = (OPJ_UINT32)(up(k->x0 + k->w, q.dx) - up(k->x0, q.dx));
        par[c].h = (OPJ_UINT32)(up(k->y0 + k->h, q.dy) - up(k->y0, q.dy));
        par[c].prec = (OPJ_UINT32)q.bits;
        par[c].sgnd = (OPJ_UINT32)q.sign;
    }
    im = opj_image_create((OPJ_UINT32)k->comps, par, OPJ_CLRSPC_UNSPECIFIED);
    assert_non_null(im);
    im->x0 = (OPJ_UINT32)k->x0;
    im->y0 = (OPJ_UINT32)k->y0;
    im->x1 = (OPJ_UINT32)(k->x0 + k->w);
    im->y1 = (OPJ_UINT32)(k->y0 + k->h);
    for (int c = 0; c < k->comps; c++)
        for (OPJ_UINT32 y = 0; y < im->comps[c].h; y++)
            for (OPJ_UINT32 x = 0; x < im->comps[c].w; x++)
                im->comps[c].data[y * im->comps[c].w + x] = sample_of(k, c, x, y);
    return im;
}

/* Consumes im. */
static UNUSED bytes encode_image(const recipe *k, opj_image_t *im)
{
    opj_codec_t *codec = opj_create_compress(OPJ_CODEC_J2K);
    opj_cparameters_t par;
    memory_file m = {{NULL, 0}, 0};
    opj_stream_t *s = mem_stream(&m, OPJ_FALSE);
    const char *const plt[] = {"PLT=YES", NULL};

    opj_set_error_handler(codec, on_text, codec);
    opj_set_default_encoder_parameters(&par);
    par.numresolution = k->levels ? k->levels : 6;
    par.irreversible = k->lossy;
    par.tcp_mct = (char)k->mct;
    par.prog_order = (OPJ_PROG_ORDER)k->order;
    par.mode = k->style;
    par.csty = k->csty;
    par.tile_size_on = k->tw != 0;
    par.cp_tdx = k->tw;
    par.cp_tdy = k->th;
    par.cp_tx0 = k->tx0;
    par.cp_ty0 = k->ty0;
    par.image_offset_x0 = k->x0;
    par.image_offset_y0 = k->y0;
    par.cblockw_init = par.cblockh_init = k->block ? k->block : 64;
    if (k->precinct) {
        par.csty |= 1;
        par.res_spec = 1;
        par.prcw_init[0] = par.prch_init[0] = k->precinct;
    }
    if (k->parts) {
        par.tp_on = 1;
        par.tp_flag = (char)k->parts;
    }
    for (int i = 0; k->poc && i < 2; i++) { /* the two lowest resolutions, then the others in another order */
        opj_poc_t *q = &par.POC[par.numpocs++];

        q->tile = 1;
        q->compno1 = (OPJ_UINT32)k->comps;
        q->layno1 = 4;
        q->resno0 = i ? 2 : 0;
        q->resno1 = i ? (OPJ_UINT32)par.numresolution : 2;
        q->prg1 = i ? OPJ_PCRL : (OPJ_PROG_ORDER)k->order;
    }
    par.cp_disto_alloc = 1;
    par.tcp_numlayers = 1;
    for (int i = 0; i < 4 && k->rate[i] > 0; i++) {
        par.tcp_rates[i] = k->rate[i];
        par.tcp_numlayers = i + 1;
    }
    if (!opj_setup_encoder(codec, &par, im) || !opj_encoder_set_extra_options(codec, k->plt ? plt : NULL) ||
        !opj_start_compress(codec, im, s) || !opj_encode(codec, s) || !opj_end_compress(codec, s))
        fail_msg("%s: not encoded", k->name);
    opj_stream_destroy(s);
    opj_destroy_codec(codec);
    opj_image_destroy(im);
    return m.b;
}

static UNUSED bytes stream_of(const recipe *k)
{
    return encode_image(k, picture_of(k));
}

/* The components of a bare code-stream at a resolution, all of them decoded whole. */
static UNUSED opj_image_t *whole_decode(bytes b, int level, int layers)
{
    opj_codec_t *codec = opj_create_decompress(OPJ_CODEC_J2K);
    opj_dparameters_t par;
    memory_file m = {b, 0};
    opj_stream_t *s = mem_stream(&m, OPJ_TRUE);
    opj_image_t *im = NULL;

    opj_set_error_handler(codec, on_text, codec);
    opj_set_default_decoder_parameters(&par);
    par.cp_reduce = (OPJ_UINT32)level;
    par.cp_layer = (OPJ_UINT32)layers;
    assert_true(opj_setup_decoder(codec, &par) && opj_read_header(s, codec, &im) &&
                opj_set_decode_area(codec, im, 0, 0, 0, 0) && opj_decode(codec, s, im));
    opj_stream_destroy(s);
    opj_destroy_codec(codec);
    return im;
}

/* --- boxes -------------------------------------------------------------------------------------------------------- */

static void append(bytes *b, const void *p, size_t n)
{
    b->p = realloc(b->p, b->n + n + 1);
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

/* n bytes, most significant first. */
static void be(bytes *b, uint64_t v, int n)
{
    for (; n > 0; n--) {
        unsigned char c = (unsigned char)(v >> (8 * (n - 1)));

        append(b, &c, 1);
    }
}

static void box(bytes *b, const char *type, const void *p, size_t n)
{
    be(b, n + 8, 4);
    append(b, type, 4);
    append(b, p, n);
}

/* The same; inner is freed. */
static void box_of(bytes *b, const char *type, bytes inner)
{
    box(b, type, inner.p, inner.n);
    free(inner.p);
}

static UNUSED bytes signature(const char *brand)
{
    bytes b = {0}, type = {0};

    box(&b, "jP  ", "\r\n\x87\n", 4);
    append(&type, brand, 4);
    be(&type, 0, 4);
    append(&type, brand, 4);
    box_of(&b, "ftyp", type);
    return b;
}

/* Enumerated colour. */
static UNUSED void colr(bytes *b, unsigned space)
{
    bytes c = {0};

    be(&c, 1, 1);
    be(&c, 0, 2);
    be(&c, space, 4);
    box_of(b, "colr", c);
}

/* n triples of channel, kind, of. */
static UNUSED void cdef(bytes *b, const int *v, int n)
{
    bytes c = {0};

    be(&c, (uint64_t)n, 2);
    for (int i = 0; i < 3 * n; i++)
        be(&c, (uint64_t)v[i], 2);
    box_of(b, "cdef", c);
}

/* A file with these header boxes (freed) around the code-stream. */
static UNUSED bytes jp2_file(bytes header, bytes stream)
{
    bytes b = signature("jp2 ");

    box_of(&b, "jp2h", header);
    box(&b, "jp2c", stream.p, stream.n);
    return b;
}
#endif
