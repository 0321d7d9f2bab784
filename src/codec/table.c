/* SPDX-License-Identifier: Apache-2.0
 * The two tables of codecs. To add a format see the top of codec.h: one line here for each direction. */
#include "codec/codec.h"
#include <string.h>

extern const iip_decoder iip_decoder_tiff;
extern const iip_decoder iip_decoder_jpeg;
extern const iip_decoder iip_decoder_png;
extern const iip_decoder iip_decoder_webp;
extern const iip_decoder iip_decoder_jp2;

#ifdef IIP_HAVE_AVIF
extern const iip_decoder iip_decoder_avif;
extern const iip_encoder iip_encoder_avif;
#endif
#ifdef IIP_HAVE_HEIF
extern const iip_decoder iip_decoder_heif;
#endif
#ifdef IIP_HAVE_JXL
extern const iip_decoder iip_decoder_jxl;
#endif
#ifdef IIP_HAVE_GIF
extern const iip_decoder iip_decoder_gif;
extern const iip_encoder iip_encoder_gif;
#endif

extern const iip_encoder iip_encoder_jpeg;
extern const iip_encoder iip_encoder_png;
extern const iip_encoder iip_encoder_webp;
extern const iip_encoder iip_encoder_tiff;
extern const iip_encoder iip_encoder_jp2;
extern const iip_encoder iip_encoder_pdf;

static const iip_decoder *const decoders[] = {
    &iip_decoder_tiff, &iip_decoder_jpeg, &iip_decoder_png, &iip_decoder_webp, &iip_decoder_jp2,
#ifdef IIP_HAVE_AVIF
    &iip_decoder_avif,
#endif
#ifdef IIP_HAVE_HEIF
    &iip_decoder_heif,
#endif
#ifdef IIP_HAVE_JXL
    &iip_decoder_jxl,
#endif
#ifdef IIP_HAVE_GIF
    &iip_decoder_gif,
#endif
};

static const iip_encoder *const encoders[] = {
    &iip_encoder_jpeg, &iip_encoder_png, &iip_encoder_webp,
    &iip_encoder_tiff,
#ifdef IIP_HAVE_AVIF
    &iip_encoder_avif,
#endif
#ifdef IIP_HAVE_GIF
    &iip_encoder_gif,
#endif
    &iip_encoder_jp2,  &iip_encoder_pdf, NULL,
};

/* Other modules were built with these. Whoever changes one of them raises IIP_CODEC_ABI, and then the sizes here. */
_Static_assert(sizeof(void *) != 8 ||
                   (IIP_CODEC_ABI == 4 && sizeof(iip_info) == 1496 && sizeof(iip_decoder) == 72 &&
                    sizeof(iip_source_t) == 88 && sizeof(iip_limits) == 56 && sizeof(iip_error) == 176 &&
                    sizeof(iip_raster) == 40 && sizeof(iip_level) == 32 && sizeof(iip_span) == 24 && IIP_E_COUNT == 19),
               "another layout is another IIP_CODEC_ABI");

#define OWN       ((int)(sizeof decoders / sizeof *decoders))
#define MAX_ADDED 16

/* Other modules' rows, behind ours. */
static const iip_decoder *added[MAX_ADDED];
static int added_count;

static const iip_decoder *decoder_at(int i)
{
    return i < OWN ? decoders[i] : i - OWN < added_count ? added[i - OWN] : NULL;
}

/* Above 0: the first is asked before the second; 0: the earlier row is. */
static int order(int sure_a, int priority_a, int sure_b, int priority_b)
{
    return sure_a != sure_b ? sure_a - sure_b : (priority_a > priority_b) - (priority_a < priority_b);
}

const iip_decoder *iip_decoder_next(const unsigned char *head, size_t n, const iip_decoder *after)
{
    const iip_decoder *d, *best = NULL;
    int sure = 0, sure_after = after ? after->sniff(head, n) : 0, passed = 0;

    for (int i = 0; (d = decoder_at(i)); i++) {
        const int score = d->sniff(head, n);
        const int later = !after || order(score, d->priority, sure_after, after->priority) < passed;

        if (score > 0 && later && (!best || order(score, d->priority, sure, best->priority) > 0)) {
            best = d;
            sure = score;
        }
        passed |= d == after;
    }
    return best;
}

const iip_decoder *iip_decoder_find(const unsigned char *head, size_t n)
{
    return iip_decoder_next(head, n, NULL);
}

int iip_decoder_add(const iip_decoder *d)
{
    if (d->abi != IIP_CODEC_ABI || added_count == MAX_ADDED || !d->sniff || !d->open || !d->info || !d->read)
        return -1;
    added[added_count++] = d;
    return 0;
}

void iip_decoder_forget(void)
{
    added_count = 0;
}

const iip_encoder *iip_encoder_find(iip_format f)
{
    for (const iip_encoder *const *k = encoders; *k; k++)
        if ((*k)->format == f)
            return *k;
    return NULL;
}

const iip_encoder *iip_encoder_by_ext(const char *ext)
{
    for (const iip_encoder *const *k = encoders; *k; k++)
        if (strcmp((*k)->ext, ext) == 0)
            return *k;
    return NULL;
}

const iip_encoder *iip_encoder_at(int i)
{
    return i >= 0 && i < (int)(sizeof encoders / sizeof *encoders) ? encoders[i] : NULL;
}
