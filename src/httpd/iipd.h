/* SPDX-License-Identifier: Apache-2.0
 * The httpd half: what its files know of each other. Nothing in src/ outside this folder includes this.
 *
 * A request goes: resolve.c (is it ours, and which file) > handler.c (the flow) > respond.c (headers, one brigade). */
#ifndef IIPD_H
#define IIPD_H
#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <ap_mpm.h>
#include "protocol/protocol.h"
#include "quarantine.h"
#include "serve.h"

extern module AP_MODULE_DECLARE_DATA iip_module;

/* One request of ours, in r->pool. */
typedef struct {
    request_rec *r;
    const iip_protocol *proto;
    iip_settings set; /* effective */
    iip_limits lim;
    iip_input in;
    iip_request rq;
    iip_want want;
    iip_error e;      /* status IIP_OK as long as nothing went wrong */
    const char *file; /* below set.root, or the absolute path httpd mapped; NULL: none was found */
    int personal;     /* the client had to log in */
    int posted;       /* a POST whose form is the query */
    const char *stem; /* in.named: where the name in the query lies without suffix, absolute; file: with it */
    iip_source_t *src;
    const iip_info *info;
    iip_blob *hold; /* keeps info */
    apr_time_t began;
    apr_interval_time_t sent; /* time in output filters */
    iip_budget *b;            /* NULL: nothing was made of pixels */
} iipd_request;

/* ---- config.c: records, directives, roots ---- */
void *iipd_create_dir(apr_pool_t *p, char *dir);
void *iipd_merge_dir(apr_pool_t *p, void *base, void *add);
void *iipd_create_server(apr_pool_t *p, server_rec *s);
const char *iipd_set(cmd_parms *cmd, void *dir, int argc, char *const argv[]);
int iipd_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);
iip_root *iipd_roots(void);      /* in the order of the configuration */
iip_root *iipd_link_roots(void); /* of JPIPLinkRoot, each path once */
/* The settings of this place as they were written. */
const iip_settings *iipd_settings(const request_rec *r);
/* IIPStateDir, absolute. */
const char *iipd_state_dir(apr_pool_t *p, server_rec *s);
/* A line to be logged once the configuration is read, and once only. */
void iipd_warn(const char *line);
apr_array_header_t *iipd_warnings(void);

/* ---- check.c: warnings of `httpd -t` and of the start ---- */
int iipd_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
int iipd_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* ---- memcached.c: its secret ---- */
/* Fails the start if it has to and cannot be had. */
int iipd_memcached_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
const unsigned char *iipd_memcached_secret(void); /* of IIP_L2_SECRET bytes; zeros without one */

/* ---- provider.c: decoders of other modules ---- */
int iipd_add_decoders(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* ---- child.c: what a child has ---- */
void iipd_child_init(apr_pool_t *pchild, server_rec *s);
/* The child's server for the length of one request; NULL if there was no memory for it. Leave in any case. */
iip_server_t *iipd_server_enter(void);
void iipd_server_leave(void);

/* ---- resolve.c: whose request is it, and which file ---- */
/* The root of a place for a protocol, NULL: none. */
const iip_root *iipd_root(const iip_protocol *proto, const iip_settings *set);
int iipd_pre_translate_name(request_rec *r);
int iipd_translate_name(request_rec *r);
int iipd_fixups(request_rec *r);
void iipd_insert_error_filter(request_rec *r);
/* Fills in, rq, want, file. DECLINED: not ours, nothing was touched; an HTTP status that is the answer; else OK with
 * q->e telling what is wrong with the request, if something is. */
int iipd_resolve(iipd_request *q);
/* What httpd says to the client's looking at the file beneath the root of which he asked for a page: OK, its settings
 * now hold; or a status. */
int iipd_look_up_page(iipd_request *q, const char *file);
/* iip_source_file() of this place: where its FileETag tells files apart by time and size alone, other machines have
 * copies. */
iip_status iipd_source(const iipd_request *q, iip_source_t **s, const iip_root *root, const char *name, apr_pool_t *p,
                       iip_error *e);
/* Opens a view of the sequence q->in.sequence by its file's name, as httpd allows it (in.named) or beneath the root;
 * ctx is q. */
iip_status iipd_open_view(void *ctx, const char *name, iip_source_t **s, iip_error *e);
/* The file of IIPWatermark, if there is one, into q->rq; q->e says why not. */
iip_status iipd_watermark(iipd_request *q);
/* What httpd maps a (decoded) name below an (encoded) URL path to, by its own rules, whose settings then hold. OK, with
 * *file NULL where there is no file; or a status. Without IIPRoot only. */
int iipd_look_up_below(iipd_request *q, const char *folder, const char *name, const char **file);
/* 1 if it is the client's login that lets him in. */
int iipd_had_to_log_in(request_rec *r);
/* Tells the later hooks that this answer is ours. */
void iipd_answering(request_rec *r);
/* 1 if this request is among the figures; mark: it is from now on. */
int iipd_counted(request_rec *r, int mark);
/* Puts back the handler that would have had this request. DECLINED. */
int iipd_decline(request_rec *r);

/* ---- base.c: the URL the client used (spec/iiif.md R10) ---- */
const char *iipd_base_url(iipd_request *q, const char *folder);
/* X-IIIF-ID of a trusted peer, or NULL. */
const char *iipd_given_id(iipd_request *q);

/* ---- handler.c ---- */
int iipd_handler(request_rec *r);
/* What the work for this request may take, into q->b. */
iip_budget *iipd_budget(iipd_request *q);

/* ---- purge.c ---- */
void iipd_purge_register(apr_pool_t *pconf); /* the method, so that <Limit> and AllowMethods know it */
int iipd_is_purge(const request_rec *r);
/* 1 if this is one, and where it may be. */
int iipd_purges(const iipd_request *q);
/* The methods of this place. */
const char *iipd_methods(const iipd_request *q);
/* Has every child forget q->src. What the handler returns. */
int iipd_purge(iipd_request *q);

/* ---- form.c ---- */
/* 1 if the protocol takes forms and this is one that resolve() may read. */
int iipd_is_form(const iipd_request *q);
/* The query: of the URL, or the body of a form. IIP_E_QUERY, IIP_E_BODY; IIP_E_ABORTED. */
iip_status iipd_read_query(iipd_request *q);

/* ---- respond.c ---- */
void iipd_cors(const iip_settings *set, request_rec *r, apr_table_t *headers);
/* ETag, Last-Modified, Cache-Control, CORS; then the client's conditions. OK, or the status that is the answer. */
int iipd_validate(iipd_request *q, const char *line, size_t len);
/* Headers of a picture beside the validators. */
void iipd_picture_headers(iipd_request *q, const iip_encoder *enc);
/* These send and return what the handler returns. */
int iipd_send_blob(iipd_request *q, iip_blob *b); /* takes over the reference */
int iipd_send_text(iipd_request *q, const char *text, size_t n, const char *mime);
int iipd_send_head(iipd_request *q); /* headers only */
int iipd_send_file(iipd_request *q, const char *mime);
int iipd_send_redirect(iipd_request *q, int status, const char *url);
int iipd_send_options(iipd_request *q);
int iipd_send_purged(iipd_request *q);
int iipd_send_error(iipd_request *q);            /* q->e */
int iipd_hand_over(iipd_request *q, int status); /* httpd words this answer */
/* The picture while it is made. IIP_OK: the answer was sent, or cut; else nothing went out yet and q->e says why. */
iip_status iipd_send_stream(iipd_request *q, iip_server_t *sv, iip_budget *b);

/* What goes out piece by piece. begun: some of it has. */
#define IIPD_PIECE (65536 + 64) /* a JPIP answer with len=65536 and its end leave whole */
typedef struct {
    iip_sink sink;
    request_rec *r;
    apr_bucket_brigade *bb;
    char *piece;
    size_t n;
    int begun;
} iipd_stream;
void iipd_stream_begin(iipd_stream *k, request_rec *r);
void iipd_stream_end(iipd_stream *k); /* the rest; what fits into one piece leaves whole, with its length */
void iipd_stream_cut(iipd_stream *k); /* so that the client sees that the rest is missing */

/* ---- bucket.c ---- */
/* A bucket that holds b as long as its bytes are wanted; takes over one reference. */
apr_bucket *iipd_bucket_blob_create(iip_blob *b, apr_bucket_alloc_t *list);

/* ---- shared.c: figures of all children, in memory that outlives them and a graceful restart ---- */
enum { IIPD_OPEN, IIPD_READ, IIPD_DECODE, IIPD_PROCESS, IIPD_ENCODE, IIPD_SEND, IIPD_STAGES };
enum { IIPD_PROTOCOLS = 8, IIPD_CAME = IIP_CAME_MISS + 1 };
/* Outcomes: iip_status, then 304, then what httpd words. */
enum { IIPD_UNCHANGED = IIP_E_COUNT, IIPD_BY_HTTPD, IIPD_OUTCOMES };
/* Of JPIP: messages' bytes; channels that were opened and closed by clients, and that were asked for in vain. */
enum { IIPD_JPIP_BYTES, IIPD_JPIP_OPENED, IIPD_JPIP_CLOSED, IIPD_JPIP_LOST, IIPD_JPIP };
/* Bucket i counts what took less than 2^i * IIPD_BUCKET microseconds and was in none before; the last the rest. */
#define IIPD_BUCKET  64
#define IIPD_BUCKETS 20
typedef struct {
    uint64_t count, sum, bucket[IIPD_BUCKETS]; /* sum: microseconds */
} iipd_histogram;
typedef struct {
    apr_time_t since;
    uint64_t outcome[IIPD_OUTCOMES], came[IIPD_CAME], jpip[IIPD_JPIP], bytes; /* bytes: of bodies */
    iipd_histogram protocol[IIPD_PROTOCOLS], stage[IIPD_PROTOCOLS][IIPD_STAGES];
} iipd_figures;
int iipd_shared_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
void iipd_shared_child_init(apr_pool_t *pchild, server_rec *s);
iip_permits *iipd_shared_permits(void);  /* NULL: there is no shared memory */
uint32_t *iipd_shared_generations(void); /* likewise */
iip_quarantine *iipd_shared_quarantine(void);
void iipd_shared_child_status(server_rec *s, pid_t pid, ap_generation_t generation, int number, mpm_child_status state);
/* A client address as a number; nobody outside knows which. */
uint64_t iipd_client(const char *address);
/* After a request of ours: rc is OK, or what httpd is to answer. */
void iipd_count(const iipd_request *q, iip_server_t *sv, int rc);
int iipd_count_bytes(request_rec *r); /* a log_transaction hook */
void iipd_count_jpip(int what, uint64_t n);
/* All figures of the machine: counted here, the stores' of all children ever (what is held and under way: of those that
 * live), and the children that live, at most `room`; their number. 0: there is no shared memory. */
int iipd_shared_read(iipd_figures *all, iip_server_stats *stores, int *pid, int room);

/* ---- status.c: the figures as pages ---- */
int iipd_status_handler(request_rec *r);
int iipd_status_section(request_rec *r, int flags); /* of mod_status */

/* ---- jobs.c: the job service's requests ---- */
int iipd_job_handler(request_rec *r);

/* ---- runners.c: its processes ---- */
int iipd_job_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
int iipd_job_monitor(apr_pool_t *p, server_rec *s);
void iipd_job_child_init(apr_pool_t *pchild, server_rec *s);
/* This child's way to the spool, NULL if there is none; the figures; and a byte to wake a runner. */
struct job_spool *iipd_job_spool(void);
struct job_counters *iipd_job_counters(void);
void iipd_job_wake(void);
/* What there is to tell of jobs. 0: there are none to be taken. */
typedef struct {
    uint64_t accepted, rejected, done, failed, retries, restarts;
    int queued, running, dead;
    double oldest; /* seconds that a job waits already */
} iipd_jobs;
int iipd_job_read(iipd_jobs *out);
int64_t iipd_job_max_queue(void);

/* ---- log.c ---- */
void iipd_log_error(const iipd_request *q);
extern const char *const iipd_came_names[IIPD_CAME]; /* NULL for IIP_CAME_NOWHERE */
/* Notes for LogFormat: iip-cache, iip-ms, iip-level. */
void iipd_note_request(const iipd_request *q);
void iipd_log_request(const iipd_request *q);
/* A link in q's file that leads nowhere, as the file writes it. */
void iipd_log_link(const iipd_request *q, const char *link, const iip_error *e);
#endif
