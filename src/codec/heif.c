/* SPDX-License-Identifier: Apache-2.0
 * HEIC reader over libheif: the primary picture, 8 to 16 bits, alpha. Decoded as a whole; the reader keeps libheif's
 * picture and takes rows out of it.
 *
 * libheif crops, turns and mirrors by itself as the boxes say, so that pictures are upright here; the standard has
 * EXIF's orientation ignored. Its limits are those of the header's sizes: how large a picture the code-stream inside
 * makes is known only once it is made, hence the flag. */
#ifdef IIP_HAVE_HEIF
#include "codec/icc_make.h"
#include <inttypes.h>
#include <string.h>
#include <libheif/heif.h>

#define BUFFER   4096
#define MAX_SIDE 16384 /* with its square the most pixels */

struct iip_reader {
    iip_source_t *s;
    iip_error *e;
    int failed;   /* the source did, *e says how */
    int64_t pos;  /* where libheif reads next */
    int64_t from; /* what buf holds */
    size_t got;   /* of it */
    struct heif_context *ctx;
    struct heif_image_handle *handle;
    struct heif_image *image; /* NULL until it is decoded */
    int64_t w, h;
    int bits, alpha, premultiplied;
    unsigned char buf[BUFFER];
};

/* A file type box with a brand of HEVC pictures; one that says no more than that it is of this family may be. */
static int heif_sniff(const unsigned char *head, size_t n)
{
    static const char brands[][5] = {"heic", "heix", "heim", "heis"};
    int score = 0;
    size_t box;

    if (n < 16 || memcmp(head + 4, "ftyp", 4) != 0 || head[0] || head[1])
        return 0;
    box = (size_t)head[2] << 8 | head[3];
    for (size_t at = 8; at + 4 <= box && at + 4 <= n; at += at == 8 ? 8 : 4) {
        for (size_t i = 0; i < sizeof brands / sizeof *brands; i++)
            if (memcmp(head + at, brands[i], 4) == 0)
                return 90;
        if (memcmp(head + at, "mif1", 4) == 0)
            score = 50;
    }
    return score;
}

/* --- libheif's callbacks and errors ------------------------------------------------------------------------------- */

static int64_t on_tell(void *reader)
{
    return ((iip_reader_t *)reader)->pos;
}

static int on_seek(int64_t pos, void *reader)
{
    ((iip_reader_t *)reader)->pos = pos;
    return 0;
}

/* What cannot be read is zeros, and known by `failed`: libheif asserts that reading goes well once it has asked for the
 * file's size. Boxes are asked for byte by byte: those come out of a buffer. */
static int on_read(void *to, size_t n, void *reader)
{
    iip_reader_t *r = reader;
    const int64_t pos = r->pos, left = pos >= 0 && pos <= r->s->id.size ? r->s->id.size - pos : 0;

    if (n == 0)
        return 0;
    if ((uint64_t)left < n && !r->failed) {
        iip_fail(r->e, IIP_E_CORRUPT, 0, "HEIC: the file ends too early");
        r->failed = 1;
    } else if (n > BUFFER && !r->failed) {
        r->failed = r->s->read(r->s, to, n, pos, r->e) != IIP_OK;
    } else if (!r->failed && (pos < r->from || pos + (int64_t)n > r->from + (int64_t)r->got)) {
        r->from = pos;
        r->got = left < BUFFER ? (size_t)left : BUFFER;
        r->failed = r->s->read(r->s, r->buf, r->got, pos, r->e) != IIP_OK;
    }
    r->pos += (int64_t)n;
    if (r->failed)
        memset(to, 0, n);
    else if (n <= BUFFER)
        memcpy(to, r->buf + (pos - r->from), n);
    return 0;
}

static enum heif_reader_grow_status on_wait(int64_t size, void *reader)
{
    return size <= ((iip_reader_t *)reader)->s->id.size ? heif_reader_grow_status_size_reached
                                                        : heif_reader_grow_status_size_beyond_eof;
}

static iip_status wrong(const iip_reader_t *r, struct heif_error is, iip_status s, iip_error *e)
{
    if (r->failed)
        return e->status;
    if (is.code == heif_error_Memory_allocation_error && is.subcode != heif_suberror_Security_limit_exceeded)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "HEIC: no memory");
    return iip_fail(e, s, 0, "HEIC: %.100s", is.message ? is.message : "damaged");
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static apr_status_t heif_close(void *reader)
{
    iip_reader_t *r = reader;

    if (r->image)
        heif_image_release(r->image);
    if (r->handle)
        heif_image_handle_release(r->handle);
    if (r->ctx)
        heif_context_free(r->ctx);
    return APR_SUCCESS;
}

static iip_status heif_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                            iip_error *e)
{
    static const struct heif_reader callbacks = {1, on_tell, on_read, on_seek, on_wait};
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);
    struct heif_error rv;

    if (page > 0)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "HEIC: page %d of 1", page);
    if (!heif_have_decoder_for_format(heif_compression_HEVC))
        return iip_fail(e, IIP_E_FORMAT, 0, "HEIC: libheif has no decoder for it");
    r->s = s;
    r->e = e;
    apr_pool_cleanup_register(p, r, heif_close, apr_pool_cleanup_null);
    if (!(r->ctx = heif_context_alloc()))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "HEIC: no memory");
    heif_context_set_max_decoding_threads(r->ctx, 0);
    heif_context_set_maximum_image_size_limit(r->ctx, MAX_SIDE);
    rv = heif_context_read_from_reader(r->ctx, &callbacks, r, NULL);
    if (rv.code == heif_error_Ok)
        rv = heif_context_get_primary_image_handle(r->ctx, &r->handle);
    if (rv.code != heif_error_Ok || r->failed)
        return wrong(r, rv, rv.subcode == heif_suberror_End_of_data ? IIP_E_CORRUPT : IIP_E_FORMAT, e);
    r->w = heif_image_handle_get_width(r->handle);
    r->h = heif_image_handle_get_height(r->handle);
    r->bits = heif_image_handle_get_luma_bits_per_pixel(r->handle);
    r->alpha = heif_image_handle_has_alpha_channel(r->handle) != 0;
    r->premultiplied = r->alpha && heif_image_handle_is_premultiplied_alpha(r->handle);
    if (r->w < 1 || r->h < 1 || r->w * r->h > MAX_SIDE * MAX_SIDE)
        return iip_fail(e, IIP_E_FORMAT, 0, "HEIC: a picture of %" PRId64 " x %" PRId64, r->w, r->h);
    if (r->bits < 8 || r->bits > 16)
        return iip_fail(e, IIP_E_FORMAT, 0, "HEIC: %d bits", r->bits);
    *out = r;
    return IIP_OK;
}

/* --- the header's contents ---------------------------------------------------------------------------------------- */

static iip_status get_profile(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const size_t n = heif_image_handle_get_raw_color_profile_size(r->handle);
    struct heif_color_profile_nclx *numbers = NULL;
    iip_status rv = IIP_OK;
    void *mem;

    if (n > 0 && n <= IIP_READ_ICC) {
        if (!(mem = iip_codec_alloc(n, p, e)))
            return e->status;
        if (heif_image_handle_get_raw_color_profile(r->handle, mem).code == heif_error_Ok) {
            out->icc = mem;
            out->icc_len = n;
        }
    } else if (n == 0 && heif_image_handle_get_nclx_color_profile(r->handle, &numbers).code == heif_error_Ok) {
        rv = iip_icc_of_numbers((int)numbers->color_primaries, (int)numbers->transfer_characteristics, 3, &out->icc,
                                &out->icc_len, p, e);
    }
    if (numbers)
        heif_nclx_color_profile_free(numbers);
    return rv;
}

/* The first block of a type (and of contents, if any); *n 0 if there is none, or none of this size. */
static iip_status get_block(iip_reader_t *r, const char *type, const char *contents, const unsigned char **block,
                            size_t *n, apr_pool_t *p, iip_error *e)
{
    heif_item_id ids[16];
    const int count = heif_image_handle_get_list_of_metadata_block_IDs(r->handle, type, ids, 16);
    void *mem;

    *n = 0;
    for (int i = 0; i < count && *n == 0; i++) {
        const size_t size = heif_image_handle_get_metadata_size(r->handle, ids[i]);

        if (size == 0 || size > IIP_READ_XMP ||
            (contents && strcmp(heif_image_handle_get_metadata_content_type(r->handle, ids[i]), contents) != 0))
            continue;
        if (!(mem = iip_codec_alloc(size, p, e)))
            return e->status;
        if (heif_image_handle_get_metadata(r->handle, ids[i], mem).code == heif_error_Ok) {
            *block = mem;
            *n = size;
        }
    }
    return IIP_OK;
}

static iip_status heif_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const unsigned char *block = NULL;
    size_t n;

    r->e = e;
    out->levels = out->virtual_from = out->pages = out->layers = out->orientation = 1;
    out->bands = 3 + r->alpha;
    out->bits = r->bits;
    out->sample = r->bits > 8 ? IIP_U16 : IIP_U8;
    iip_level_rows(&out->level[0], r->w, r->h, (size_t)out->bands * iip_sample_size(out->sample), 1);
    out->space = IIP_RGB;
    out->alpha = r->alpha;
    /* the decoder's planes, libheif's, their turned copy and RGB(A), as far as they are there at once: 9.3 measured at
     * most (alpha, or turned), 6 of a grid */
    out->hold = (size_t)(r->w * r->h) * iip_sample_size(out->sample) * 10;
    out->decode_cost = 4;
    if (get_profile(r, out, p, e) != IIP_OK || get_block(r, "Exif", NULL, &block, &n, p, e) != IIP_OK)
        return e->status;
    if (n > 4) { /* in front of it, how far behind that it begins: behind "Exif\0\0", if anything */
        const size_t skip = (size_t)block[0] << 24 | (size_t)block[1] << 16 | (size_t)block[2] << 8 | block[3];

        if (skip < n - 4) {
            out->exif = block + 4 + skip;
            out->exif_len = n - 4 - skip;
        }
    }
    iip_exif_resolution(out->exif, out->exif_len, &out->res_x, &out->res_y);
    if (get_block(r, "mime", "application/rdf+xml", &block, &n, p, e) != IIP_OK)
        return e->status;
    if (n > 0) {
        out->xmp = block;
        out->xmp_len = n;
    }
    return IIP_OK;
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

static iip_status decode(iip_reader_t *r, iip_error *e)
{
    const enum heif_chroma chroma =
        r->bits > 8 ? r->alpha ? heif_chroma_interleaved_RRGGBBAA_LE : heif_chroma_interleaved_RRGGBB_LE
        : r->alpha  ? heif_chroma_interleaved_RGBA
                    : heif_chroma_interleaved_RGB;
    struct heif_decoding_options *how = heif_decoding_options_alloc();
    struct heif_image *image = NULL;
    struct heif_error rv;

    if (!how)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "HEIC: no memory");
    how->convert_hdr_to_8bit = 0;
    how->strict_decoding = 1;
    rv = heif_decode_image(r->handle, &image, heif_colorspace_RGB, chroma, how);
    heif_decoding_options_free(how);
    r->image = image;
    if (rv.code != heif_error_Ok || r->failed)
        return wrong(r, rv, IIP_E_CORRUPT, e);
    if (heif_image_get_width(image, heif_channel_interleaved) != r->w ||
        heif_image_get_height(image, heif_channel_interleaved) != r->h ||
        heif_image_get_bits_per_pixel_range(image, heif_channel_interleaved) != r->bits)
        return iip_fail(e, IIP_E_CORRUPT, 0, "HEIC: the picture is not what its header says");
    return IIP_OK;
}

typedef uint16_t __attribute__((aligned(1), may_alias)) any16; /* rows may begin anywhere */

/* Samples of `most` to all the range of theirs, colours that were multiplied by alpha divided by it. */
#define DELIVER(T, V, TOP)                                                                                             \
    for (size_t i = 0; i < n; i++)                                                                                     \
        for (size_t b = 0; b < bands; b++) {                                                                           \
            const uint32_t v = V(i * bands + b), by = divide && b < 3 ? V(i * bands + 3) : most;                       \
                                                                                                                       \
            ((T *)out)[i * bands + b] = (T)(v >= by ? (by ? (TOP) : 0) : (v * (TOP) + by / 2) / by);                   \
        }
#define AT_8(K)  in[K]
#define AT_16(K) ((uint32_t)in[2 * (K)] | (uint32_t)in[2 * (K) + 1] << 8)
static void deliver(const iip_reader_t *r, const unsigned char *in, size_t n, unsigned char *out)
{
    const size_t bands = 3 + (size_t)r->alpha;
    const uint32_t most = (1u << r->bits) - 1;
    const int divide = r->premultiplied;

    if (r->bits == 8 && !divide)
        memcpy(out, in, n * bands);
    else if (r->bits == 8)
        DELIVER(uint8_t, AT_8, 255u)
    else
        DELIVER(any16, AT_16, 65535u)
}

static iip_status heif_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    const size_t pixel = (3 + (size_t)r->alpha) * (r->bits > 8 ? 2 : 1);
    const uint8_t *px;
    int stride = 0;

    if (level != 0 || want.x < 0 || want.y < 0 || want.w < 1 || want.h < 1 || want.x > r->w - want.w ||
        want.y > r->h - want.h)
        return iip_fail(e, IIP_E_RANGE, 0, "HEIC: no such rectangle on level %d", level);
    r->e = e;
    if (!r->image && decode(r, e) != IIP_OK)
        return e->status;
    px = heif_image_get_plane_readonly(r->image, heif_channel_interleaved, &stride);
    for (int64_t y = 0; y < want.h; y++)
        deliver(r, px + (size_t)(want.y + y) * (size_t)stride + (size_t)want.x * pixel, (size_t)want.w,
                out->px + (size_t)y * out->stride);
    return IIP_OK;
}

const iip_decoder iip_decoder_heif = {
    .abi = IIP_CODEC_ABI,
    .name = "heic",
    .flags = IIP_DEC_TRUSTED,
    .priority = 100,
    .sniff = heif_sniff,
    .open = heif_open,
    .info = heif_info,
    .read = heif_read,
};
#else
typedef int iip_heif_reader_not_built;
#endif
