/* SPDX-License-Identifier: Apache-2.0
 * What stands at a destination until the picture comes, or after it failed: one colour and a line of text, in letters
 * of 5 x 7 points drawn for this. */
#include "render.h"
#ifdef IIP_HAVE_JOBS
#include <string.h>

#define GLYPH_W 5
#define GLYPH_H 7
#define ADVANCE 6
#define STRIP   16 /* rows made at once */

/* clang-format off */
static const unsigned char glyphs[95][GLYPH_H] = { /* from the blank on; the left point of a row is its highest bit */
    { 0,  0,  0,  0,  0,  0,  0}, /*   */
    { 4,  4,  4,  4,  4,  0,  4}, /* ! */
    {10, 10, 10,  0,  0,  0,  0}, /* " */
    {10, 10, 31, 10, 31, 10, 10}, /* # */
    { 4, 15, 20, 14,  5, 30,  4}, /* $ */
    {24, 25,  2,  4,  8, 19,  3}, /* % */
    {12, 18, 20,  8, 21, 18, 13}, /* & */
    { 4,  4,  4,  0,  0,  0,  0}, /* ' */
    { 2,  4,  8,  8,  8,  4,  2}, /* ( */
    { 8,  4,  2,  2,  2,  4,  8}, /* ) */
    { 0,  4, 21, 14, 21,  4,  0}, /* star */
    { 0,  4,  4, 31,  4,  4,  0}, /* + */
    { 0,  0,  0,  0, 12,  4,  8}, /* , */
    { 0,  0,  0, 31,  0,  0,  0}, /* - */
    { 0,  0,  0,  0,  0, 12, 12}, /* . */
    { 0,  1,  2,  4,  8, 16,  0}, /* slash */
    {14, 17, 19, 21, 25, 17, 14}, /* 0 */
    { 4, 12,  4,  4,  4,  4, 14}, /* 1 */
    {14, 17,  1,  2,  4,  8, 31}, /* 2 */
    {31,  2,  4,  2,  1, 17, 14}, /* 3 */
    { 2,  6, 10, 18, 31,  2,  2}, /* 4 */
    {31, 16, 30,  1,  1, 17, 14}, /* 5 */
    { 6,  8, 16, 30, 17, 17, 14}, /* 6 */
    {31,  1,  2,  4,  8,  8,  8}, /* 7 */
    {14, 17, 17, 14, 17, 17, 14}, /* 8 */
    {14, 17, 17, 15,  1,  2, 12}, /* 9 */
    { 0, 12, 12,  0, 12, 12,  0}, /* : */
    { 0, 12, 12,  0, 12,  4,  8}, /* ; */
    { 2,  4,  8, 16,  8,  4,  2}, /* < */
    { 0,  0, 31,  0, 31,  0,  0}, /* = */
    { 8,  4,  2,  1,  2,  4,  8}, /* > */
    {14, 17,  1,  2,  4,  0,  4}, /* ? */
    {14, 17,  1, 13, 21, 21, 14}, /* @ */
    {14, 17, 17, 17, 31, 17, 17}, /* A */
    {30, 17, 17, 30, 17, 17, 30}, /* B */
    {14, 17, 16, 16, 16, 17, 14}, /* C */
    {28, 18, 17, 17, 17, 18, 28}, /* D */
    {31, 16, 16, 30, 16, 16, 31}, /* E */
    {31, 16, 16, 30, 16, 16, 16}, /* F */
    {14, 17, 16, 23, 17, 17, 15}, /* G */
    {17, 17, 17, 31, 17, 17, 17}, /* H */
    {14,  4,  4,  4,  4,  4, 14}, /* I */
    { 7,  2,  2,  2,  2, 18, 12}, /* J */
    {17, 18, 20, 24, 20, 18, 17}, /* K */
    {16, 16, 16, 16, 16, 16, 31}, /* L */
    {17, 27, 21, 21, 17, 17, 17}, /* M */
    {17, 17, 25, 21, 19, 17, 17}, /* N */
    {14, 17, 17, 17, 17, 17, 14}, /* O */
    {30, 17, 17, 30, 16, 16, 16}, /* P */
    {14, 17, 17, 17, 21, 18, 13}, /* Q */
    {30, 17, 17, 30, 20, 18, 17}, /* R */
    {15, 16, 16, 14,  1,  1, 30}, /* S */
    {31,  4,  4,  4,  4,  4,  4}, /* T */
    {17, 17, 17, 17, 17, 17, 14}, /* U */
    {17, 17, 17, 17, 17, 10,  4}, /* V */
    {17, 17, 17, 21, 21, 21, 10}, /* W */
    {17, 17, 10,  4, 10, 17, 17}, /* X */
    {17, 17, 17, 10,  4,  4,  4}, /* Y */
    {31,  1,  2,  4,  8, 16, 31}, /* Z */
    {14,  8,  8,  8,  8,  8, 14}, /* [ */
    { 0, 16,  8,  4,  2,  1,  0}, /* backslash */
    {14,  2,  2,  2,  2,  2, 14}, /* ] */
    { 4, 10, 17,  0,  0,  0,  0}, /* ^ */
    { 0,  0,  0,  0,  0,  0, 31}, /* _ */
    { 8,  4,  2,  0,  0,  0,  0}, /* ` */
    { 0,  0, 14,  1, 15, 17, 15}, /* a */
    {16, 16, 22, 25, 17, 17, 30}, /* b */
    { 0,  0, 14, 16, 16, 17, 14}, /* c */
    { 1,  1, 13, 19, 17, 17, 15}, /* d */
    { 0,  0, 14, 17, 31, 16, 14}, /* e */
    { 6,  9,  8, 28,  8,  8,  8}, /* f */
    { 0, 15, 17, 17, 15,  1, 14}, /* g */
    {16, 16, 22, 25, 17, 17, 17}, /* h */
    { 4,  0, 12,  4,  4,  4, 14}, /* i */
    { 2,  0,  6,  2,  2, 18, 12}, /* j */
    {16, 16, 18, 20, 24, 20, 18}, /* k */
    {12,  4,  4,  4,  4,  4, 14}, /* l */
    { 0,  0, 26, 21, 21, 17, 17}, /* m */
    { 0,  0, 22, 25, 17, 17, 17}, /* n */
    { 0,  0, 14, 17, 17, 17, 14}, /* o */
    { 0,  0, 30, 17, 30, 16, 16}, /* p */
    { 0,  0, 13, 19, 15,  1,  1}, /* q */
    { 0,  0, 22, 25, 16, 16, 16}, /* r */
    { 0,  0, 14, 16, 14,  1, 30}, /* s */
    { 8,  8, 28,  8,  8,  9,  6}, /* t */
    { 0,  0, 17, 17, 17, 19, 13}, /* u */
    { 0,  0, 17, 17, 17, 10,  4}, /* v */
    { 0,  0, 17, 17, 21, 21, 10}, /* w */
    { 0,  0, 17, 10,  4, 10, 17}, /* x */
    { 0,  0, 17, 17, 15,  1, 14}, /* y */
    { 0,  0, 31,  2,  4,  8, 31}, /* z */
    { 2,  4,  4,  8,  4,  4,  2}, /* { */
    { 4,  4,  4,  4,  4,  4,  4}, /* | */
    { 8,  4,  4,  2,  4,  4,  8}, /* } */
    { 0,  0,  8, 21,  2,  0,  0}, /* ~ */
};
/* clang-format on */

static void colour(unsigned char *px, int rgb)
{
    px[0] = (unsigned char)(rgb >> 16);
    px[1] = (unsigned char)(rgb >> 8);
    px[2] = (unsigned char)rgb;
}

typedef struct {
    iip_stage_t stage;
    iip_raster strip;
    const char *text;
    int64_t y, left, top, size; /* next row; of the text, and how large a point of it is: 0: no text */
    int ground, ink;
} board;

/* One row of the text */
static void write_row(const board *b, unsigned char *row, int64_t v)
{
    for (int64_t i = 0; b->text[i]; i++) {
        const char c = b->text[i];
        const unsigned char points = glyphs[(c >= ' ' && c <= '~' ? c : '?') - ' '][v / b->size];
        unsigned char *at = row + 3 * (b->left + i * ADVANCE * b->size);

        for (int64_t u = 0; u < GLYPH_W * b->size; u++)
            if (points >> (GLYPH_W - 1 - u / b->size) & 1)
                colour(at + 3 * u, b->ink);
    }
}

static iip_status board_next(iip_stage_t *s, int64_t max_rows, iip_raster *out, iip_error *e)
{
    board *b = (board *)s;
    const int64_t left = s->shape.h - b->y, most = max_rows < b->strip.h ? max_rows : b->strip.h;

    *out = b->strip;
    out->h = left < most ? left : most;
    for (int64_t y = 0; y < out->h; y++, b->y++) {
        unsigned char *row = out->px + (size_t)y * out->stride;
        const int64_t v = b->y - b->top;

        for (int64_t x = 0; x < out->w; x++)
            colour(row + 3 * x, b->ground);
        if (b->size > 0 && v >= 0 && v < GLYPH_H * b->size)
            write_row(b, row, v);
    }
    return IIP_OK;
}

iip_stage_t *job_placeholder(int64_t w, int64_t h, int ground, int ink, const char *text, apr_pool_t *p)
{
    const int64_t letters = text ? (int64_t)strlen(text) : 0, points = letters * ADVANCE - 1;
    board *b = apr_pcalloc(p, sizeof *b);
    iip_error why;

    *b = (board){.text = text, .ground = ground, .ink = ink};
    b->stage.shape = (iip_raster){.w = w, .h = h, .bands = 3, .sample = IIP_U8, .stride = 3 * (size_t)w};
    b->stage.next = board_next;
    b->strip = b->stage.shape;
    b->strip.h = h < STRIP ? h : STRIP;
    if (!(b->strip.px = iip_codec_alloc(b->strip.stride * (size_t)b->strip.h, p, &why)))
        return NULL;
    if (letters == 0)
        return &b->stage;
    /* Nine tenths of the width, a third of the height at most; the whole text or none of it */
    b->size = w * 9 / 10 / points < h / 3 / GLYPH_H ? w * 9 / 10 / points : h / 3 / GLYPH_H;
    if (b->size == 0 && points <= w - 2 && GLYPH_H <= h - 2)
        b->size = 1;
    b->left = (w - points * b->size) / 2;
    b->top = (h - GLYPH_H * b->size) / 2;
    return &b->stage;
}
#endif
