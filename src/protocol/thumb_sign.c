/* SPDX-License-Identifier: Apache-2.0
 * Keys of signed addresses, and their check. */
#include "thumb.h"
#include <string.h>
#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_strings.h>
#ifdef IIP_HAVE_CRYPTO
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#endif

#define MOST_FILE 65536
#define MOST_KEYS 64
#define DIGEST    32 /* octets of SHA-256 */

typedef struct {
    const unsigned char *at;
    size_t length;
} octets;

struct iip_thumb_keys {
    int count;
    struct {
        octets key, salt;
    } pair[MOST_KEYS];
};

static int digit(char c)
{
    return apr_isdigit(c) ? c - '0' : apr_isxdigit(c) ? (c | 32) - 'a' + 10 : -1;
}

/* The next word of a line; 0: there is none, -1: no hex digits in pairs. */
static int read_hex(const char **s, octets *out, apr_pool_t *p)
{
    size_t n;
    unsigned char *to;

    *s += strspn(*s, " \t\r");
    n = strcspn(*s, " \t\r\n");
    if (n == 0)
        return 0;
    if (n % 2)
        return -1;
    to = apr_palloc(p, n / 2);
    for (size_t i = 0; i < n; i++)
        if (digit((*s)[i]) < 0)
            return -1;
    for (size_t i = 0; i < n / 2; i++)
        to[i] = (unsigned char)(digit((*s)[2 * i]) << 4 | digit((*s)[2 * i + 1]));
    *out = (octets){to, n / 2};
    *s += n;
    return 1;
}

const char *iip_thumb_keys_parse(const char *text, const iip_thumb_keys **out, apr_pool_t *p)
{
    iip_thumb_keys *k = apr_pcalloc(p, sizeof *k);
    octets more;

    for (int line = 1; *text; line++) {
        text += strspn(text, " \t\r");
        if (*text != '#' && *text && *text != '\n') {
            if (k->count == MOST_KEYS)
                return "more than 64 keys";
            if (read_hex(&text, &k->pair[k->count].key, p) != 1 || read_hex(&text, &k->pair[k->count].salt, p) != 1 ||
                read_hex(&text, &more, p) != 0)
                return apr_psprintf(p, "line %d is no key and salt in hex digits", line);
            k->count++;
        }
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    if (!k->count)
        return "holds no key";
    *out = k;
    return NULL;
}

const char *iip_thumb_keys_read(const char *path, const iip_thumb_keys **out, apr_pool_t *p)
{
    char *text = apr_palloc(p, MOST_FILE + 1), why[120];
    apr_file_t *file;
    apr_size_t n = 0;
    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p);

    if (rv == APR_SUCCESS) {
        rv = apr_file_read_full(file, text, MOST_FILE + 1, &n);
        apr_file_close(file);
    }
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv))
        return apr_pstrdup(p, apr_strerror(rv, why, sizeof why));
    if (n > MOST_FILE || memchr(text, '\0', n))
        return "is no text of keys";
    text[n] = '\0';
    return iip_thumb_keys_parse(text, out, p);
}

/* ---- base64 ---- */

static int sextet(char c)
{
    return apr_isupper(c)         ? c - 'A'
           : apr_islower(c)       ? c - 'a' + 26
           : apr_isdigit(c)       ? c - '0' + 52
           : c == '-' || c == '+' ? 62
           : c == '_' || c == '/' ? 63
                                  : -1;
}

unsigned char *iip_thumb_base64(const char *s, size_t n, size_t *len, apr_pool_t *p)
{
    unsigned char *out, *to;
    unsigned bits = 0;

    while (n && s[n - 1] == '=')
        n--;
    if (n % 4 == 1)
        return NULL;
    to = out = apr_palloc(p, n / 4 * 3 + 4);
    for (size_t i = 0; i < n; i++) {
        const int v = sextet(s[i]);

        if (v < 0)
            return NULL;
        bits = bits << 6 | (unsigned)v;
        if (i % 4)
            *to++ = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    *to = '\0';
    *len = (size_t)(to - out);
    return out;
}

/* ---- the check ---- */

#ifdef IIP_HAVE_CRYPTO
/* digest of salt and path as 43 characters */
static int sign_of(const octets *key, const octets *salt, const char *path, char text[44])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char md[DIGEST + 1] = {0}, *all;
    const size_t n = strlen(path);
    unsigned length = 0;

    if (!(all = OPENSSL_malloc(salt->length + n + 1)))
        return 0;
    memcpy(all, salt->at, salt->length);
    memcpy(all + salt->length, path, n);
    if (!HMAC(EVP_sha256(), key->at, (int)key->length, all, salt->length + n, md, &length))
        length = 0;
    OPENSSL_free(all);
    for (int i = 0; i < 43; i++) {
        const unsigned at = 6 * (unsigned)i, two = (unsigned)md[at / 8] << 8 | md[at / 8 + 1];

        text[i] = letters[two >> (10 - at % 8) & 63];
    }
    text[43] = '\0';
    return length == DIGEST;
}

int iip_thumb_signed(const iip_thumb_keys *keys, const char *sign, size_t n, const char *path)
{
    char want[44];
    int good = 0;

    if (n != 43)
        return 0;
    for (int i = 0; i < keys->count; i++)
        good |= sign_of(&keys->pair[i].key, &keys->pair[i].salt, path, want) & !CRYPTO_memcmp(want, sign, 43);
    return good;
}
#else
/* No key gets as far as here: its directive says so */
int iip_thumb_signed(const iip_thumb_keys *keys, const char *sign, size_t n, const char *path)
{
    return 0;
}
#endif
