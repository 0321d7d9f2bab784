/* SPDX-License-Identifier: Apache-2.0
 * JPEG XL reader over libjxl: 1 to 16 bits and floats, grey, colour, inks, alpha; of an animation the first frame.
 * Decoded as a whole; the reader keeps the picture.
 *
 * The header is read out of the first bytes of the file, more of them if it does not end there. Boxes (ISO/IEC 18181-2)
 * are walked here, a few bytes each, since libjxl wants to be fed all that lies between them. What libjxl holds while
 * it decodes it does not let us bound by its memory manager: frames inside may be larger than the picture. Hence the
 * flag. */
#ifdef IIP_HAVE_JXL
#include "codec/icc_make.h"
#include <inttypes.h>
#include <string.h>
#include <jxl/decode.h>

#define MAX_BOXES  4096
#define MAX_HEADER (16 << 20) /* bytes in front of the first frame */
#define MAX_PIXELS (INT64_C(1) << 28)

typedef struct {
    int64_t at;
    size_t n;
    int packed; /* by brotli, behind four bytes that are its type */
} place;

struct iip_reader {
    iip_source_t *s;
    apr_pool_t *pool;
    JxlDecoder *dec;
    JxlBasicInfo basic;
    JxlColorEncoding prefer; /* where libjxl has a choice */
    int choose;
    int black; /* which of the extra channels that ink is; -1: there is none */
    const void *icc;
    size_t icc_len;
    place exif, xmp;
    iip_raster all; /* px NULL until it is decoded */
};

static const unsigned char signature[12] = {0, 0, 0, 12, 'J', 'X', 'L', ' ', '\r', '\n', 0x87, '\n'};

static int jxl_sniff(const unsigned char *head, size_t n)
{
    if (n >= sizeof signature && memcmp(head, signature, sizeof signature) == 0)
        return 100;
    return n >= 2 && head[0] == 0xff && head[1] == 0x0a ? 60 : 0; /* a bare code-stream */
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- boxes -------------------------------------------------------------------------------------------------------- */

static iip_status find_boxes(iip_reader_t *r, iip_error *e)
{
    int64_t at = 0;

    for (int i = 0; i < MAX_BOXES && r->s->id.size - at >= 20; i++) {
        unsigned char head[20];
        int64_t size, front = 8;
        const unsigned char *type = head + 4;
        place here;

        if (r->s->read(r->s, head, sizeof head, at, e) != IIP_OK)
            return e->status;
        size = be32(head);
        if (size == 1) {
            size = (int64_t)((uint64_t)be32(head + 8) << 32 | be32(head + 12));
            front = 16;
        } else if (size == 0) {
            size = r->s->id.size - at;
        }
        if (size < front || size > r->s->id.size - at)
            return IIP_OK; /* the decoder will find it wrong, if it matters */
        here = (place){at + front, (size_t)(size - front), memcmp(type, "brob", 4) == 0};
        if (here.packed && here.n > 4)
            type = head + front;
        if (memcmp(type, "Exif", 4) == 0 && r->exif.n == 0)
            r->exif = here;
        else if (memcmp(type, "xml ", 4) == 0 && r->xmp.n == 0)
            r->xmp = here;
        at += size;
    }
    return IIP_OK;
}

/* Unpacks a box by showing libjxl a file of it alone. That the empty box behind it is reached says that it was whole.
 * *n stays 0 if it is damaged or larger than we take. */
static iip_status unpack(iip_reader_t *r, const unsigned char *box, size_t len, const void **out, size_t *n,
                         apr_pool_t *p, iip_error *e)
{
    static const unsigned char front[] = {0,   0,   0, 20, 'f', 't', 'y', 'p', 'j', 'x',
                                          'l', ' ', 0, 0,  0,   0,   'j', 'x', 'l', ' '};
    static const unsigned char behind[] = {0, 0, 0, 8, 'f', 'r', 'e', 'e'};
    const size_t all = sizeof signature + sizeof front + 8 + len + sizeof behind;
    unsigned char *file = iip_codec_alloc(all, p, e), *to = file ? iip_codec_alloc(IIP_READ_XMP, p, e) : NULL,
                  *at = file;
    const uint32_t size = (uint32_t)len + 8;
    JxlBoxType type;
    int inside = 0;

    if (!to)
        return e->status;
    memcpy(at, signature, sizeof signature);
    memcpy(at += sizeof signature, front, sizeof front);
    at += sizeof front;
    memcpy(at,
           (unsigned char[]){(unsigned char)(size >> 24), (unsigned char)(size >> 16), (unsigned char)(size >> 8),
                             (unsigned char)size, 'b', 'r', 'o', 'b'},
           8);
    memcpy(at + 8, box, len);
    memcpy(at + 8 + len, behind, sizeof behind);
    JxlDecoderReset(r->dec);
    if (JxlDecoderSetDecompressBoxes(r->dec, JXL_TRUE) != JXL_DEC_SUCCESS ||
        JxlDecoderSubscribeEvents(r->dec, JXL_DEC_BOX) != JXL_DEC_SUCCESS ||
        JxlDecoderSetInput(r->dec, file, all) != JXL_DEC_SUCCESS)
        return IIP_OK;
    JxlDecoderCloseInput(r->dec);
    while (JxlDecoderProcessInput(r->dec) == JXL_DEC_BOX) {
        if (inside) {
            *n = IIP_READ_XMP - JxlDecoderReleaseBoxBuffer(r->dec);
            *out = to;
            break;
        }
        if (JxlDecoderGetBoxType(r->dec, type, JXL_FALSE) == JXL_DEC_SUCCESS && memcmp(type, "brob", 4) == 0)
            inside = JxlDecoderSetBoxBuffer(r->dec, to, IIP_READ_XMP) == JXL_DEC_SUCCESS;
    }
    JxlDecoderReset(r->dec);
    return IIP_OK;
}

static iip_status get_box(iip_reader_t *r, place from, const void **out, size_t *n, apr_pool_t *p, iip_error *e)
{
    const unsigned char *box;

    if (from.n <= 4 || from.n > IIP_READ_XMP)
        return IIP_OK;
    if (!(box = iip_codec_fetch(r->s, from.at, from.n, p, e)))
        return e->status;
    if (from.packed)
        return unpack(r, box, from.n, out, n, p, e);
    *out = box;
    *n = from.n;
    return IIP_OK;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static apr_status_t jxl_close(void *reader)
{
    iip_reader_t *r = reader;

    JxlDecoderDestroy(r->dec);
    return APR_SUCCESS;
}

static iip_status start(iip_reader_t *r, int events, const void *data, size_t n, iip_error *e)
{
    JxlDecoderReset(r->dec);
    if (JxlDecoderSubscribeEvents(r->dec, events) != JXL_DEC_SUCCESS ||
        JxlDecoderSetKeepOrientation(r->dec, JXL_TRUE) != JXL_DEC_SUCCESS ||
        JxlDecoderSetUnpremultiplyAlpha(r->dec, JXL_TRUE) != JXL_DEC_SUCCESS ||
        JxlDecoderSetInput(r->dec, data, n) != JXL_DEC_SUCCESS)
        return iip_fail(e, IIP_E_IO, 0, "JPEG XL: another version of the library");
    if (n == (size_t)r->s->id.size)
        JxlDecoderCloseInput(r->dec);
    return IIP_OK;
}

/* sRGB's curve and white; its primaries, or Display P3's. */
static JxlColorEncoding encoding(int grey, int wide)
{
    return (JxlColorEncoding){.color_space = grey ? JXL_COLOR_SPACE_GRAY : JXL_COLOR_SPACE_RGB,
                              .white_point = JXL_WHITE_POINT_D65,
                              .primaries = wide ? JXL_PRIMARIES_P3 : JXL_PRIMARIES_SRGB,
                              .transfer_function = JXL_TRANSFER_FUNCTION_SRGB,
                              .rendering_intent = JXL_RENDERING_INTENT_RELATIVE};
}

static iip_status get_profile(iip_reader_t *r, JxlColorProfileTarget of, const void **icc, size_t *n, iip_error *e)
{
    size_t size = 0;
    unsigned char *mem;

    *n = 0;
    if (JxlDecoderGetICCProfileSize(r->dec, NULL, of, &size) != JXL_DEC_SUCCESS || size == 0 || size > IIP_READ_ICC)
        return IIP_OK;
    if (!(mem = iip_codec_alloc(size, r->pool, e)))
        return e->status;
    if (JxlDecoderGetColorAsICCProfile(r->dec, NULL, of, mem, size) == JXL_DEC_SUCCESS) {
        *icc = mem;
        *n = size;
    }
    return IIP_OK;
}

/* What the pixels will mean. Lossy pictures are not of their profile's colours any more; where that is no more than a
 * block of bytes, libjxl needs to be told other ones: those of sRGB if the profile is that, else of more colours. */
static iip_status take_colours(iip_reader_t *r, iip_error *e)
{
    const int grey = r->basic.num_color_channels == 1;
    JxlColorEncoding is;

    if (!r->basic.uses_original_profile &&
        JxlDecoderGetColorAsEncodedProfile(r->dec, NULL, JXL_COLOR_PROFILE_TARGET_ORIGINAL, NULL) != JXL_DEC_SUCCESS) {
        iip_info look = {.bands = grey ? 1 : 3, .space = grey ? IIP_GREY : IIP_RGB};

        if (get_profile(r, JXL_COLOR_PROFILE_TARGET_ORIGINAL, &look.icc, &look.icc_len, e) != IIP_OK)
            return e->status;
        r->prefer = encoding(grey, !grey && iip_icc_look(&look) == IIP_ICC_OTHER);
        r->choose = JxlDecoderSetPreferredColorProfile(r->dec, &r->prefer) == JXL_DEC_SUCCESS;
    }
    if (JxlDecoderGetColorAsEncodedProfile(r->dec, NULL, JXL_COLOR_PROFILE_TARGET_DATA, &is) == JXL_DEC_SUCCESS &&
        is.white_point == JXL_WHITE_POINT_D65) {
        const int numbers = (int)is.primaries, p3 = is.primaries == JXL_PRIMARIES_P3;

        if ((grey || is.primaries == JXL_PRIMARIES_SRGB) && is.transfer_function == JXL_TRANSFER_FUNCTION_SRGB)
            return IIP_OK;
        if (is.transfer_function == JXL_TRANSFER_FUNCTION_PQ || is.transfer_function == JXL_TRANSFER_FUNCTION_HLG)
            return iip_icc_of_numbers(p3 ? 12 : numbers, (int)is.transfer_function, grey ? 1 : 3, &r->icc, &r->icc_len,
                                      r->pool, e);
    }
    return get_profile(r, JXL_COLOR_PROFILE_TARGET_DATA, &r->icc, &r->icc_len, e);
}

/* Black ink is a channel besides; the other inks are the colours. */
static int find_black(const iip_reader_t *r)
{
    JxlExtraChannelInfo c;

    for (uint32_t i = 0; i < r->basic.num_extra_channels; i++)
        if (JxlDecoderGetExtraChannelInfo(r->dec, i, &c) == JXL_DEC_SUCCESS && c.type == JXL_CHANNEL_BLACK)
            return (int)i;
    return -1;
}

/* *whole 0: more bytes are needed. */
static iip_status try_header(iip_reader_t *r, const void *data, size_t n, int *whole, iip_error *e)
{
    *whole = 0;
    if (start(r, JXL_DEC_BASIC_INFO | JXL_DEC_COLOR_ENCODING, data, n, e) != IIP_OK)
        return e->status;
    for (;;)
        switch (JxlDecoderProcessInput(r->dec)) {
        case JXL_DEC_BASIC_INFO:
            if (JxlDecoderGetBasicInfo(r->dec, &r->basic) != JXL_DEC_SUCCESS)
                return iip_fail(e, IIP_E_FORMAT, 0, "JPEG XL: its header is wrong");
            r->black = find_black(r);
            break;
        case JXL_DEC_COLOR_ENCODING:
            *whole = 1;
            return take_colours(r, e);
        case JXL_DEC_NEED_MORE_INPUT:
            return IIP_OK;
        default:
            return iip_fail(e, IIP_E_FORMAT, 0, "JPEG XL: its header is wrong");
        }
}

static iip_status read_header(iip_reader_t *r, iip_error *e)
{
    const int64_t most = r->s->id.size < MAX_HEADER ? r->s->id.size : MAX_HEADER;
    int whole = 0;

    for (int64_t n = 4096; !whole; n *= 16) {
        apr_pool_t *tmp;
        iip_status rv;
        void *data;

        n = n < most ? n : most;
        apr_pool_create(&tmp, r->pool);
        data = iip_codec_fetch(r->s, 0, (size_t)n, tmp, e);
        rv = data ? try_header(r, data, (size_t)n, &whole, e) : e->status;
        JxlDecoderReset(r->dec);
        apr_pool_destroy(tmp);
        if (rv != IIP_OK)
            return rv;
        if (!whole && n == most)
            return iip_fail(e, most == MAX_HEADER ? IIP_E_FORMAT : IIP_E_CORRUPT, 0,
                            "JPEG XL: its header does not end");
    }
    return IIP_OK;
}

static iip_status check(iip_reader_t *r, iip_error *e)
{
    const JxlBasicInfo *b = &r->basic;
    const int64_t w = b->xsize, h = b->ysize;

    if (w < 1 || h < 1 || w > IIP_MAX_SIDE || h > IIP_MAX_SIDE || w > MAX_PIXELS / h)
        return iip_fail(e, IIP_E_FORMAT, 0, "JPEG XL: a picture of %" PRId64 " x %" PRId64, w, h);
    if (b->num_color_channels != 1 && b->num_color_channels != 3)
        return iip_fail(e, IIP_E_FORMAT, 0, "JPEG XL: %u colours", b->num_color_channels);
    if (r->black >= 0 && (b->num_color_channels != 3 || b->exponent_bits_per_sample || b->bits_per_sample > 16))
        return iip_fail(e, IIP_E_FORMAT, 0, "JPEG XL: inks of %u colours, %u bits", b->num_color_channels,
                        b->bits_per_sample);
    r->all = (iip_raster){.w = w, .h = h, .bands = (int)b->num_color_channels + (r->black >= 0) + (b->alpha_bits > 0)};
    r->all.sample = b->exponent_bits_per_sample || b->bits_per_sample > 16 ? IIP_F32
                    : b->bits_per_sample > 8                               ? IIP_U16
                                                                           : IIP_U8;
    r->all.stride = (size_t)w * (size_t)r->all.bands * iip_sample_size(r->all.sample);
    return IIP_OK;
}

static iip_status jxl_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                           iip_error *e)
{
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);
    unsigned char head[sizeof signature];

    if (page > 0)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "JPEG XL: page %d of 1", page);
    r->s = s;
    r->pool = p;
    if (s->read(s, head, sizeof head, 0, e) != IIP_OK)
        return e->status;
    if (!jxl_sniff(head, sizeof head))
        return iip_fail(e, IIP_E_FORMAT, 0, "not JPEG XL");
    if (!(r->dec = JxlDecoderCreate(NULL)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG XL: no memory");
    apr_pool_cleanup_register(p, r, jxl_close, apr_pool_cleanup_null);
    if (read_header(r, e) != IIP_OK || check(r, e) != IIP_OK)
        return e->status;
    if (memcmp(head, signature, sizeof head) == 0 && find_boxes(r, e) != IIP_OK)
        return e->status;
    *out = r;
    return IIP_OK;
}

/* --- the header's contents ---------------------------------------------------------------------------------------- */

static iip_status jxl_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const size_t pixels = (size_t)(r->all.w * r->all.h);
    const void *exif = NULL;
    size_t n = 0;

    out->levels = out->virtual_from = out->pages = out->layers = 1;
    iip_level_rows(&out->level[0], r->all.w, r->all.h, r->all.stride / (size_t)r->all.w, 1);
    out->bands = r->all.bands;
    out->bits = (int)r->basic.bits_per_sample;
    out->sample = r->all.sample;
    out->space = r->black >= 0 ? IIP_CMYK : r->basic.num_color_channels == 1 ? IIP_GREY : IIP_RGB;
    out->alpha = r->basic.alpha_bits > 0;
    out->orientation = r->basic.orientation >= 1 && r->basic.orientation <= 8 ? (int)r->basic.orientation : 1;
    /* the file, the picture, and libjxl's: floats, of each channel twice (measured: 27 bytes a pixel in all without
     * loss and "responsive", 36 lossy with alpha, 6 to 16 most of the time) */
    out->hold = (size_t)r->s->id.size + r->all.stride * (size_t)r->all.h +
                pixels * (1 + 2 * (3 + (size_t)r->basic.num_extra_channels)) * sizeof(float);
    out->decode_cost = 5;
    if (r->icc_len) {
        void *icc = iip_codec_alloc(r->icc_len, p, e);

        if (!icc)
            return e->status;
        out->icc = memcpy(icc, r->icc, out->icc_len = r->icc_len);
    }
    if (get_box(r, r->exif, &exif, &n, p, e) != IIP_OK || get_box(r, r->xmp, &out->xmp, &out->xmp_len, p, e) != IIP_OK)
        return e->status;
    if (n > 4 && be32(exif) < n - 4) { /* in front of it, how far behind that it begins */
        out->exif = (const unsigned char *)exif + 4 + be32(exif);
        out->exif_len = n - 4 - be32(exif);
    }
    iip_exif_resolution(out->exif, out->exif_len, &out->res_x, &out->res_y);
    return IIP_OK;
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

/* Pixels lie side by side without black, which has a plane of its own. Both say how much light is left. */
#define INKS(T, TOP)                                                                                                   \
    for (size_t i = n; i-- > 0;) {                                                                                     \
        const T *from = (const T *)(void *)px + i * (size_t)(bands - 1);                                               \
        T *to = (T *)(void *)px + i * (size_t)bands, alpha = from[bands - 2];                                          \
                                                                                                                       \
        for (int b = 2; b >= 0; b--)                                                                                   \
            to[b] = (T)((TOP)-from[b]);                                                                                \
        to[3] = (T)((TOP) - ((const T *)black)[i]);                                                                    \
        if (bands == 5)                                                                                                \
            to[4] = alpha;                                                                                             \
    }
static void to_inks(const iip_raster *all, unsigned char *px, const void *black)
{
    const size_t n = (size_t)(all->w * all->h);
    const int bands = all->bands;

    if (all->sample == IIP_U8)
        INKS(uint8_t, 255)
    else
        INKS(uint16_t, 65535)
}

static iip_status decode_file(iip_reader_t *r, const void *data, apr_pool_t *tmp, iip_error *e)
{
    static const JxlDataType types[] = {
        [IIP_U8] = JXL_TYPE_UINT8, [IIP_U16] = JXL_TYPE_UINT16, [IIP_F32] = JXL_TYPE_FLOAT};
    const JxlPixelFormat format = {(uint32_t)(r->all.bands - (r->black >= 0)), types[r->all.sample], JXL_NATIVE_ENDIAN,
                                   0};
    const size_t plane = (size_t)(r->all.w * r->all.h) * iip_sample_size(r->all.sample);
    const size_t size = plane * format.num_channels;
    unsigned char *px = iip_codec_alloc(plane * (size_t)r->all.bands, r->pool, e);
    void *black = px && r->black >= 0 ? iip_codec_alloc(plane, tmp, e) : px;
    size_t wanted;

    if (!black || start(r, JXL_DEC_COLOR_ENCODING | JXL_DEC_FULL_IMAGE, data, (size_t)r->s->id.size, e) != IIP_OK)
        return e->status;
    for (;;)
        switch (JxlDecoderProcessInput(r->dec)) {
        case JXL_DEC_COLOR_ENCODING:
            if (r->choose && JxlDecoderSetPreferredColorProfile(r->dec, &r->prefer) != JXL_DEC_SUCCESS)
                return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG XL: its colours changed");
            break;
        case JXL_DEC_NEED_IMAGE_OUT_BUFFER:
            if (JxlDecoderImageOutBufferSize(r->dec, &format, &wanted) != JXL_DEC_SUCCESS || wanted != size ||
                JxlDecoderSetImageOutBuffer(r->dec, &format, px, size) != JXL_DEC_SUCCESS)
                return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG XL: the picture is not what its header says");
            if (r->black >= 0 &&
                (JxlDecoderExtraChannelBufferSize(r->dec, &format, &wanted, (uint32_t)r->black) != JXL_DEC_SUCCESS ||
                 wanted != plane ||
                 JxlDecoderSetExtraChannelBuffer(r->dec, &format, black, plane, (uint32_t)r->black) != JXL_DEC_SUCCESS))
                return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG XL: its black is not what its header says");
            break;
        case JXL_DEC_FULL_IMAGE:
            if (r->black >= 0)
                to_inks(&r->all, px, black);
            r->all.px = px;
            return IIP_OK;
        case JXL_DEC_NEED_MORE_INPUT:
            return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG XL: the file ends too early");
        default:
            return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG XL: damaged");
        }
}

static iip_status jxl_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    if (level != 0)
        return iip_fail(e, IIP_E_RANGE, 0, "JPEG XL: no level %d", level);
    if (!r->all.px) {
        apr_pool_t *tmp;
        const void *data;
        iip_status rv;

        apr_pool_create(&tmp, r->pool);
        data = iip_codec_fetch(r->s, 0, (size_t)r->s->id.size, tmp, e);
        rv = data ? decode_file(r, data, tmp, e) : e->status;
        JxlDecoderReset(r->dec); /* what it holds is no longer needed */
        apr_pool_destroy(tmp);
        if (rv != IIP_OK)
            return rv;
    }
    return iip_raster_cut(&r->all, want, out, e);
}

const iip_decoder iip_decoder_jxl = {
    .abi = IIP_CODEC_ABI,
    .name = "jxl",
    .flags = IIP_DEC_TRUSTED,
    .priority = 100,
    .sniff = jxl_sniff,
    .open = jxl_open,
    .info = jxl_info,
    .read = jxl_read,
};
#else
typedef int iip_jxl_reader_not_built;
#endif
