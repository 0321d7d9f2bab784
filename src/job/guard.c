/* SPDX-License-Identifier: Apache-2.0
 * Who a job may speak to: host patterns, ports, addresses (spec/imgserve.md section 9, spec/security.md section 7). */
#include "job.h"
#include "number.h"
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

typedef struct {
    unsigned char at[16];
    int length, bits; /* 4 or 16 octets */
} net;

static int net_read(net *n, const char *text)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    int64_t given;

    if (len >= sizeof host)
        return -1;
    memcpy(host, text, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, n->at) == 1)
        n->length = 4;
    else if (inet_pton(AF_INET6, host, n->at) == 1)
        n->length = 16;
    else
        return -1;
    n->bits = 8 * n->length;
    if (!slash)
        return 0;
    given = job_whole_text(slash + 1);
    if (given < 0 || given > n->bits)
        return -1;
    n->bits = (int)given;
    return 0;
}

int job_net_good(const char *text)
{
    net n;

    return net_read(&n, text) == 0;
}

static int inside(const net *n, const unsigned char *at, int length)
{
    const int whole = n->bits / 8, rest = n->bits % 8;

    return n->length == length && memcmp(n->at, at, (size_t)whole) == 0 &&
           (!rest || ((n->at[whole] ^ at[whole]) & (0xff00 >> rest) & 0xff) == 0);
}

static int in_list(const char *const *nets, const unsigned char *at, int length)
{
    net n;

    for (; nets && *nets; nets++)
        if (net_read(&n, *nets) == 0 && inside(&n, at, length))
            return 1;
    return 0;
}

/* Nothing of the public network is there (IANA's registries of special addresses) */
static const char *const closed_v4[] = {"0.0.0.0/8",      "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8",
                                        "169.254.0.0/16", "172.16.0.0/12",  "192.0.0.0/24",  "192.0.2.0/24",
                                        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
                                        "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",   NULL};
static const char *const closed_v6[] = {"::/128",   "::1/128",  "fc00::/7",      "fe80::/10",    "fec0::/10",
                                        "ff00::/8", "100::/64", "2001:db8::/32", "2001:10::/28", NULL};
/* Where an IPv4 address is kept inside one of IPv6, and at which octet */
static const struct {
    const char *net;
    int at, turned; /* turned: its bits are inverted (Teredo) */
} holds_v4[] = {
    {"::ffff:0:0/96", 12, 0},   /* mapped */
    {"::/96", 12, 0},           /* compatible */
    {"::ffff:0:0:0/96", 12, 0}, /* translated, RFC 2765 */
    {"2002::/16", 2, 0},        /* 6to4 */
    {"64:ff9b::/96", 12, 0},    /* NAT64 */
    {"2001::/32", 12, 1},       /* Teredo: the client */
    {"2001::/32", 4, 0},        /* and its server */
};

static int closed(const unsigned char *at, int length)
{
    static const unsigned char local_nat[6] = {0, 0x64, 0xff, 0x9b, 0, 1}, isatap[4] = {0, 0, 0x5e, 0xfe};
    const char *one[2] = {NULL, NULL};

    if (length == 4)
        return in_list(closed_v4, at, 4);
    if (in_list(closed_v6, at, 16))
        return 1;
    for (size_t i = 0; i < sizeof holds_v4 / sizeof *holds_v4; i++) {
        one[0] = holds_v4[i].net;
        if (in_list(one, at, 16)) {
            unsigned char v4[4];

            for (int k = 0; k < 4; k++)
                v4[k] = (unsigned char)(at[holds_v4[i].at + k] ^ (holds_v4[i].turned ? 0xff : 0));
            if (closed(v4, 4))
                return 1;
        }
    }
    /* NAT64 of a site's own (RFC 8215): its place for the address varies, nothing public is told from it */
    if (memcmp(at, local_nat, sizeof local_nat) == 0)
        return 1;
    /* ISATAP: 0000:5efe or 0200:5efe before the address */
    return (at[8] & 0xfd) == isatap[0] && memcmp(at + 9, isatap + 1, 3) == 0 && closed(at + 12, 4);
}

int job_address_good(const job_place *place, const unsigned char *at, int length)
{
    /* A mapped address is the IPv4 one: that is what is connected to */
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (length == 16 && memcmp(at, mapped, 12) == 0) {
        at += 12;
        length = 4;
    }
    if (in_list(place->deny_net, at, length))
        return 0;
    return in_list(place->allow_net, at, length) || !closed(at, length);
}

int job_port_good(const job_place *place, int port)
{
    for (const char *const *p = place->ports; p && *p; p++)
        if (strcmp(*p, "any") == 0 || job_whole_text(*p) == port)
            return 1;
    return 0;
}

int job_host_listed(const char *host, const char *const *patterns)
{
    size_t n = strlen(host);

    if (n && host[n - 1] == '.')
        n--;
    for (; patterns && *patterns; patterns++) {
        const char *pattern = *patterns;
        size_t m = strlen(pattern);

        if (strcmp(pattern, "*") == 0)
            return 1;
        if (pattern[0] == '*' ? n >= m && strncasecmp(host + n - (m - 1), pattern + 1, m - 1) == 0
                              : n == m && strncasecmp(host, pattern, n) == 0)
            return 1;
    }
    return 0;
}
