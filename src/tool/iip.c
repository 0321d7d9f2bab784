/* SPDX-License-Identifier: Apache-2.0
 * iip: the module without a server. Each line of standard input is one request, written as it would follow the host
 * name (IIIF), or a query of the Internet Imaging Protocol ("FIF=a.tif&WID=500&CVT=png"); the body goes to -o, "status
 * type length line" to standard error.
 *
 *   iip -r ROOT [-o FILE|-] [-b URL] [-s 'Directive words']... [-t]
 *   iip -D          the table of directives as Markdown, for the README
 *   iip check ...   what pictures cost, and what makes them cheap: check.c
 *
 * Ends with 0 only if every answer was below 400. No network, no httpd. */
#include "serve.h"
#include "path.h"
#include "protocol/protocol.h"
#include "tool/tool.h"
#include <apr_general.h>
#include <apr_getopt.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    iip_server_t *sv;
    iip_settings set;
    iip_limits lim;
    iip_root root;
    const char *base;
    FILE *out;
    int times;
} tool;

typedef struct {
    int status;
    const char *mime, *error;
    const void *body;
    size_t len;
    iip_blob *blob; /* what body lies in, or NULL */
} answer;

typedef struct {
    iip_sink sink;
    FILE *out;
    size_t len;
} file_sink;

static iip_status file_write(iip_sink *sink, const void *p, size_t n, iip_error *e)
{
    file_sink *k = (file_sink *)sink;

    k->len += n;
    return fwrite(p, 1, n, k->out) == n ? IIP_OK : iip_fail(e, IIP_E_IO, errno, "cannot write");
}

static void text(answer *a, int status, const char *mime, const char *body)
{
    a->status = status;
    a->mime = mime;
    a->body = body;
    a->len = strlen(body);
}

typedef struct {
    tool *t;
    apr_pool_t *p;
} opener;

static iip_status open_file(void *ctx, const char *name, iip_source_t **s, iip_error *e)
{
    opener *o = ctx;

    return iip_source_file(s, &o->t->root, name, o->p, e);
}

/* The file of a name, the one of which it names a page, or a view of a sequence. */
static iip_status open_picture(opener *o, const iip_protocol *proto, iip_input *in, iip_request *rq, iip_source_t **s,
                               iip_error *e)
{
    const char *suffix = o->t->set.suffix ? o->t->set.suffix : "", *file;
    iip_error none;
    iip_status rv = open_file(o, apr_pstrcat(o->p, rq->name, suffix, NULL), s, e);

    if (rv == IIP_E_NOT_FOUND && proto->page && (file = proto->page(in, rq, rq->name, o->p)))
        rv = open_file(o, apr_pstrcat(o->p, file, suffix, NULL), s, e);
    if (rv == IIP_OK)
        return iip_view_choose(rq, NULL, NULL, o->p, e);
    if (rv != IIP_E_NOT_FOUND || !proto->place ||
        iip_serve_sequence(o->t->sv, &in->sequence, &o->t->root, rq->name, o->t->set.sequence_pattern, o->p, &none) !=
            IIP_OK ||
        !in->sequence)
        return rv;
    if ((rv = iip_view_choose(rq, in->sequence, &file, o->p, e)) != IIP_OK)
        return rv;
    return open_file(o, file, s, e);
}

static iip_status compose(tool *t, const iip_protocol *proto, const iip_input *in, const iip_request *rq,
                          iip_views *views, iip_budget *b, answer *a, apr_pool_t *p, iip_error *e)
{
    iip_text *out = apr_palloc(p, sizeof *out);
    iip_status rv;

    iip_text_init(out, b, p, e);
    if ((rv = proto->compose(in, rq, views ? views->info : NULL, views, out, p, e)) == IIP_OK) {
        a->status = 200;
        a->mime = out->mime;
        a->body = out->data;
        a->len = out->length;
    }
    return rv;
}

/* A URL path is one below the root here. */
static iip_status find_watermark(const tool *t, iip_request *rq, apr_pool_t *p, iip_error *e)
{
    const iip_watermark *mark = t->set.watermark;

    if (!mark || !mark->path)
        return IIP_OK;
    return iip_path_good(mark->path + 1) ? iip_source_file(&rq->watermark, &t->root, mark->path + 1, p, e)
                                         : iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

/* The same steps as a request takes in httpd (src/httpd/handler.c), without validators. */
static iip_status work(tool *t, const iip_protocol *proto, iip_input *in, iip_budget *b, answer *a, apr_pool_t *p,
                       iip_error *e)
{
    iip_request rq;
    iip_want want = IIP_WANT_IMAGE;
    iip_source_t *src;
    const iip_info *info;
    iip_blob *hold;
    char *line;
    size_t len;
    apr_time_t t0 = apr_time_now();
    opener o = {t, p};
    iip_error look;
    iip_status rv;

    iip_request_init(&rq, &t->set);
    rv = proto->parse(in, &rq, &want, p, e);
    if (rv == IIP_OK && want == IIP_WANT_TEXT)
        return compose(t, proto, in, &rq, NULL, b, a, p, e);
    if (rv != IIP_OK && (want != IIP_WANT_BARE || !rq.name))
        return rv;
    if (!rq.name || !iip_path_good(rq.name))
        return rv != IIP_OK ? rv : iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    if (open_picture(&o, proto, in, &rq, &src, &look) != IIP_OK) {
        if (rv == IIP_OK)
            *e = look;
        return e->status;
    }
    if (want == IIP_WANT_BARE || want == IIP_WANT_MOVED) {
        text(a, want == IIP_WANT_BARE ? 303 : 301, "text/plain", proto->redirect(in, &rq, want, p));
        return IIP_OK;
    }
    if ((rv = iip_serve_page(t->sv, src, &rq, &t->lim, &info, &hold, p, e)) != IIP_OK)
        return rv;
    b->spent.open = apr_time_now() - t0;
    if (want == IIP_WANT_INFO) {
        const char *body, *mime, *vary, *link;

        if ((rv = proto->describe(in, &rq, info, &t->lim, &body, &mime, &vary, &link, p, e)) == IIP_OK)
            text(a, 200, mime, body);
    } else if (want == IIP_WANT_DATA) {
        iip_views views = {t->sv, &t->lim, b, p, src, info, in->sequence, open_file, &o};

        find_watermark(t, &rq, p, &look);
        rv = compose(t, proto, in, &rq, &views, b, a, p, e);
    } else if ((!proto->place || (rv = proto->place(in, &rq, info, &t->lim, p, e)) == IIP_OK) &&
               (rv = iip_request_resolve(&rq, info, &t->lim, e)) == IIP_OK &&
               (rv = find_watermark(t, &rq, p, e)) == IIP_OK) {
        a->status = 200;
        a->mime = iip_encoder_find(rq.format)->mime;
        if (iip_request_streams(&rq)) {
            file_sink k = {{file_write}, t->out, 0};

            rv = iip_serve_stream(t->sv, &rq, info, src, &t->lim, b, p, &k.sink, e);
            a->len = k.len;
        } else {
            len = iip_request_room(&rq);
            line = apr_palloc(p, len);
            len = iip_request_line(&rq, line, len);
            rv = iip_serve_image(t->sv, &rq, line, len, info, src, &t->lim, b, p, &a->blob, e);
            if (rv == IIP_OK) {
                a->body = a->blob->data;
                a->len = a->blob->len;
            }
        }
    }
    iip_blob_release(hold);
    return rv;
}

/* Answers one line; its HTTP status. */
static int answer_line(tool *t, const char *line, apr_pool_t *p)
{
    const int query_alone = *line != '/';
    const iip_protocol *proto = iip_protocol_find(query_alone ? "iip-handler" : "iiif-handler"), *other;
    char *path = apr_pstrdup(p, line), *query = strchr(path, '?');
    iip_input in = {.path = path, .base_url = t->base, .set = &t->set};
    iip_error e = {IIP_OK, 0, NULL, ""};
    iip_budget *b = apr_pcalloc(p, sizeof *b);
    answer a = {0, "", "", NULL, 0, NULL};

    if (query_alone) {
        in.query = path;
        in.path = "/";
        if ((other = proto->become(&in, p)))
            proto = other;
    } else if (query) {
        *query = '\0';
        in.query = query + 1;
    }
    b->limit = t->lim.memory;
    b->until = apr_time_now() + t->lim.deadline;
    if (work(t, proto, &in, b, &a, p, &e) != IIP_OK) {
        a.error = iip_status_name(e.status);
        text(&a, iip_status_http(e.status), "", proto->complain(&in, &e, &a.mime, p));
    }
    if (a.body && a.len)
        fwrite(a.body, 1, a.len, t->out);
    fflush(t->out);
    fprintf(stderr, "%d %s %" APR_SIZE_T_FMT " %s%s%s%s%s\n", a.status, a.mime, a.len, line, *a.error ? " " : "",
            a.error, *a.error && e.detail[0] ? ": " : "", *a.error ? e.detail : "");
    if (t->times)
        fprintf(stderr, "  open %.3f read %.3f decode %.3f process %.3f encode %.3f ms, %.1f MB\n",
                (double)b->spent.open / 1e3, (double)b->spent.read / 1e3, (double)b->spent.decode / 1e3,
                (double)b->spent.process / 1e3, (double)b->spent.encode / 1e3, (double)b->peak / 1e6);
    if (a.blob)
        iip_blob_release(a.blob);
    return a.status;
}

static void directives(const iip_directive *d)
{
    static const struct {
        char scope;
        const char *text;
    } scopes[] = {{'S', "server"}, {'D', "server, host, section"}, {'H', "+ .htaccess"}, {'L', "Location"}};

    for (; d->name; d++)
        for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++)
            if (scopes[i].scope == d->scope) {
                char args[256];
                size_t n = 0;

                for (const char *c = d->args; *c && n < sizeof args - 2; c++) {
                    if (*c == '|')
                        args[n++] = '\\';
                    args[n++] = *c;
                }
                args[n] = '\0';
                printf("| `%s` %s | %s | %s%s%s | %s |\n", d->name, args, scopes[i].text, *d->def ? "`" : "", d->def,
                       *d->def ? "`" : "-", d->help);
            }
}

static const char *set_by_name(tool *t, iip_server_settings *server, const char *words, apr_pool_t *p)
{
    char **argv;
    int argc = 0;

    if (apr_tokenize_to_argv(words, &argv, p) != APR_SUCCESS || !argv[0])
        return "no directive";
    while (argv[argc])
        argc++;
    for (int k = 0; k < 2; k++)
        for (const iip_directive *d = k ? iip_server_directives : iip_directives; d->name; d++)
            if (!strcasecmp(d->name, argv[0]) && d->scope != 'L')
                return iip_setting_set(k ? (void *)server : (void *)&t->set, d, argc - 1, (const char *const *)argv + 1,
                                       0, p);
    return "no such directive";
}

static int usage(void)
{
    fprintf(stderr, "usage: iip -r ROOT [-o FILE|-] [-b URL] [-s 'Directive words']... [-t] < requests\n       iip -D\n"
                    "       iip check [--json] PATH...\n");
    return 2;
}

int main(int argc, const char *const *argv)
{
    static tool t;
    iip_server_settings server, server_in_force;
    iip_settings raw;
    iip_error e;
    apr_pool_t *p, *rp;
    apr_getopt_t *os;
    const char *arg, *wrong, *out = "-";
    char c, *line = NULL;
    size_t room = 0;
    ssize_t n;
    int bad = 0;
    apr_status_t rv;

    apr_app_initialize(&argc, &argv, NULL);
    if (argc > 1 && !strcmp(argv[1], "check"))
        return iip_check(argc - 1, argv + 1);
    apr_pool_create(&p, NULL);
    iip_settings_init(p);
    iip_settings_unset(&t.set);
    iip_server_settings_unset(&server);
    t.base = "http://localhost";
    apr_getopt_init(&os, p, argc, argv);
    while ((rv = apr_getopt(os, "r:o:b:s:tD", &c, &arg)) == APR_SUCCESS)
        switch (c) {
        case 'r':
            t.root.path = arg;
            break;
        case 'o':
            out = arg;
            break;
        case 'b':
            t.base = arg;
            break;
        case 't':
            t.times = 1;
            break;
        case 's':
            if ((wrong = set_by_name(&t, &server, arg, p))) {
                fprintf(stderr, "iip: %s: %s\n", arg, wrong);
                return 2;
            }
            break;
        default:
            directives(iip_directives);
            directives(iip_server_directives);
            directives(iip_job_directives);
            return 0;
        }
    if (rv != APR_EOF || !t.root.path)
        return usage();
    raw = t.set;
    iip_settings_effective(&t.set, &raw);
    iip_settings_limits(&t.lim, &t.set);
    iip_server_settings_effective(&server_in_force, &server);
    t.root.prefix = "";
    t.root.fd = -1;
    t.root.number = 1;
    if (iip_root_open(&t.root, p, &e) != IIP_OK) {
        fprintf(stderr, "iip: %s: %s\n", t.root.path, e.detail);
        return 2;
    }
    t.out = strcmp(out, "-") ? fopen(out, "wb") : stdout;
    t.sv = iip_server_create(&server_in_force, p);
    if (!t.out || !t.sv) {
        fprintf(stderr, "iip: %s: %s\n", out, strerror(errno));
        return 2;
    }
    while ((n = getline(&line, &room, stdin)) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!*line)
            continue;
        apr_pool_create(&rp, p);
        bad |= answer_line(&t, line, rp) >= 400;
        apr_pool_destroy(rp);
    }
    free(line);
    iip_server_destroy(t.sv);
    if (fclose(t.out) != 0)
        bad = 1;
    apr_terminate();
    return bad;
}
