/* SPDX-License-Identifier: Apache-2.0
 * The two tables of codecs. To add a format see the top of codec.h: one line here for each direction. */
#include "codec/codec.h"
#include <string.h>

extern const iip_decoder iip_decoder_tiff, iip_decoder_jpeg, iip_decoder_webp, iip_decoder_jp2;
extern const iip_encoder iip_encoder_jpeg, iip_encoder_png, iip_encoder_webp, iip_encoder_tiff;

#define MAX_DECODERS 32

/* Other modules' rows are put in front of the empty ones, by iip_decoder_add(). */
static const iip_decoder *decoders[MAX_DECODERS + 1] = {
    &iip_decoder_tiff,
    &iip_decoder_jpeg,
    &iip_decoder_webp,
    &iip_decoder_jp2,
};

static const iip_encoder *const encoders[] = {
    &iip_encoder_jpeg, &iip_encoder_png, &iip_encoder_webp, &iip_encoder_tiff, NULL,
};

const iip_decoder *iip_decoder_find(const unsigned char *head, size_t n)
{
    const iip_decoder *best = NULL;
    int sure = 0;

    for (const iip_decoder *const *d = decoders; *d; d++) {
        int score = (*d)->sniff(head, n);

        if (score > sure || (score > 0 && score == sure && (*d)->priority > best->priority)) {
            best = *d;
            sure = score;
        }
    }
    return best;
}

int iip_decoder_add(const iip_decoder *d)
{
    int i = 0;

    while (decoders[i])
        i++;
    if (i == MAX_DECODERS || d->abi != IIP_CODEC_ABI)
        return -1;
    decoders[i] = d;
    return 0;
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
