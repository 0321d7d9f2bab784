/* SPDX-License-Identifier: Apache-2.0
 * For the JPEG 2000 tests: code-streams taken apart by their markers and put together otherwise (T.800 annex A). */
#ifndef JP2_MARKS_H
#define JP2_MARKS_H
#include "jp2_plain.h"

/* Where a marker stands, from `at` on; b.n if nowhere. */
static size_t find_marker(bytes b, size_t at, unsigned marker)
{
    while (at + 1 < b.n && (b.p[at] != marker >> 8 || b.p[at + 1] != (marker & 255)))
        at++;
    return at + 1 < b.n ? at : b.n;
}

/* A code-stream with SOP and EPH markers and its packet headers moved into PPM (or PPT) segments: with each packet's
 * header ended by EPH and the packets divided by SOP, no header needs to be understood. */
static UNUSED bytes packed(bytes b, int in_tile, int split)
{
    const size_t first = find_marker(b, 2, 0xff90);
    bytes out = {0}, all = {0}, tiles = {0};

    for (size_t at = first, len; at + 12 < b.n && b.p[at + 1] == 0x90; at += len) {
        bytes heads = {0}, body = {0}, part = {0}, keep = {0};
        size_t data = find_marker(b, at + 12, 0xff93) + 2, end;

        len = (size_t)b.p[at + 6] << 24 | (size_t)b.p[at + 7] << 16 | (size_t)b.p[at + 8] << 8 | b.p[at + 9];
        end = at + len;
        for (size_t packet = data, next, head; packet < end; packet = next) {
            bytes rest = {b.p, end};

            next = find_marker(rest, packet + 6, 0xff91);
            head = find_marker(rest, packet + 6, 0xff92) + 2;
            append(&heads, b.p + packet + 6, head - packet - 6);
            append(&body, b.p + packet, 6); /* SOP stays where it is */
            append(&body, b.p + head, next - head);
        }
        append(&keep, b.p + at + 12, data - 2 - (at + 12));
        if (in_tile) {
            be(&keep, 0xff61, 2);
            be(&keep, heads.n + 3, 2);
            append(&keep, b.p + at + 10, 1); /* numbered through the tile, as OpenJPEG wants it */
            append(&keep, heads.p, heads.n);
        } else {
            be(&all, heads.n, 4);
            append(&all, heads.p, heads.n);
        }
        append(&part, b.p + at, 6);
        be(&part, 12 + keep.n + 2 + body.n, 4);
        append(&part, b.p + at + 10, 2);
        append(&part, keep.p, keep.n);
        be(&part, 0xff93, 2);
        append(&part, body.p, body.n);
        append(&tiles, part.p, part.n);
        free(heads.p);
        free(body.p);
        free(part.p);
        free(keep.p);
    }
    append(&out, b.p, first);
    split = all.n / 250 > (size_t)split ? (int)(all.n / 250) : split;
    for (size_t at = 0, n = 0; at < all.n; at += (size_t)split, n++) { /* cut anywhere */
        size_t len = all.n - at < (size_t)split ? all.n - at : (size_t)split;

        be(&out, 0xff60, 2);
        be(&out, len + 3, 2);
        be(&out, n, 1);
        append(&out, all.p + at, len);
    }
    append(&out, tiles.p, tiles.n);
    be(&out, 0xffd9, 2);
    free(all.p);
    free(tiles.p);
    return out;
}

/* n bytes, most significant first. */
static uint64_t number_at(const unsigned char *p, int n)
{
    uint64_t v = 0;

    while (n-- > 0)
        v = v << 8 | *p++;
    return v;
}

/* The code-stream without the segments of a marker: in its main header (TLM, POC) or its tile-parts (PLT). */
static UNUSED bytes without(bytes b, unsigned marker)
{
    const size_t first = find_marker(b, 2, 0xff90);
    bytes out = {0};

    append(&out, b.p, 2);
    for (size_t at = 2, n; at < first; at += n) {
        n = 2 + (size_t)number_at(b.p + at + 2, 2);
        if (number_at(b.p + at, 2) != marker)
            append(&out, b.p + at, n);
    }
    for (size_t at = first, len; at + 12 < b.n && b.p[at + 1] == 0x90; at += len) {
        const size_t from = out.n;

        len = (size_t)number_at(b.p + at + 6, 4);
        append(&out, b.p + at, 12);
        for (size_t k = at + 12, n; k < at + len; k += n) {
            const int data = number_at(b.p + k, 2) == 0xff93;

            n = data ? at + len - k : 2 + (size_t)number_at(b.p + k + 2, 2);
            if (number_at(b.p + k, 2) != marker || data)
                append(&out, b.p + k, n);
        }
        for (int i = 0; i < 4; i++)
            out.p[from + 6 + (size_t)i] = (unsigned char)((out.n - from) >> (24 - 8 * i));
    }
    be(&out, 0xffd9, 2);
    return out;
}

/* The same, all packet lengths in PLM segments of the main header; NULL where a tile-part has more than they can say.
 */
static UNUSED bytes lengths_in_front(bytes b, size_t split)
{
    const size_t first = find_marker(b, 2, 0xff90);
    bytes rest = without(b, 0xff58), all = {0}, out = {0};

    for (size_t at = first, len; at + 12 < b.n && b.p[at + 1] == 0x90; at += len) {
        bytes own = {0};

        len = (size_t)number_at(b.p + at + 6, 4);
        for (size_t k = at + 12, n; number_at(b.p + k, 2) != 0xff93; k += n) {
            n = 2 + (size_t)number_at(b.p + k + 2, 2);
            if (number_at(b.p + k, 2) == 0xff58)
                append(&own, b.p + k + 5, n - 5);
        }
        if (own.n > 255) {
            free(own.p);
            free(all.p);
            free(rest.p);
            return (bytes){0};
        }
        be(&all, own.n, 1);
        append(&all, own.p, own.n);
        free(own.p);
    }
    append(&out, rest.p, first);
    for (size_t at = 0, n = 0; at < all.n; at += split, n++) {
        const size_t len = all.n - at < split ? all.n - at : split;

        be(&out, 0xff57, 2);
        be(&out, len + 3, 2);
        be(&out, n, 1);
        append(&out, all.p + at, len);
    }
    append(&out, rest.p + first, rest.n - first);
    free(all.p);
    free(rest.p);
    return out;
}
#endif
