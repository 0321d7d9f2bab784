/* SPDX-License-Identifier: Apache-2.0
 * Figures of all children in one piece of shared memory. It belongs to the pool of the process, so a graceful restart
 * finds it again; anonymous, so nothing is left behind and nobody else can open it. Written with atomic additions;
 * nothing in it is relied upon but as numbers.
 *
 * What the stores of a child count lies in a slot of that child's. The slot of a child that is gone is taken over by a
 * later one, which first adds what was counted there to the sum of those that were. */
#include "httpd/iipd.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <apr_shm.h>
#include <apr_siphash.h>
#include <apr_strings.h>

APLOG_USE_MODULE(iip);

#define SLOTS 1024

/* iip_server_stats as a row of numbers: counters that only grow, and what is true at the moment. */
#define WORDS (sizeof(iip_server_stats) / sizeof(uint64_t))
#define AT(m) [offsetof(iip_server_stats, m) / sizeof(uint64_t)] = 1
static const unsigned char is_moment[WORDS] = {
    AT(info.bytes),  AT(info.entries),  AT(cell.bytes),  AT(cell.entries),   AT(output.bytes), AT(output.entries),
    AT(index.bytes), AT(index.entries), AT(shared.shut), AT(shared.servers), AT(decoding),     AT(waiting),
};

typedef struct {
    int32_t pid; /* 0: free */
    uint64_t row[WORDS];
} slot;

typedef struct {
    iipd_figures figures;
    iip_permits permits;
    uint32_t generations[IIP_GENERATIONS];
    iip_quarantine quarantine;
    unsigned char seed[APR_SIPHASH_KSIZE]; /* of client addresses */
    uint64_t past[WORDS];                  /* of children that are gone */
    slot slots[SLOTS];
} table;

static table *shared;
static slot *own;
static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- life ---- */

/* Another module version has another layout: then it begins anew. */
int iipd_shared_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const char *key = apr_psprintf(ptemp, "mod_iip figures " IIP_VERSION " %d", (int)sizeof(table));
    apr_shm_t *shm;
    void *found = NULL;
    apr_status_t rv;

    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    apr_pool_userdata_get(&found, key, s->process->pool);
    if (!found) {
        rv = apr_shm_create(&shm, sizeof(table), NULL, s->process->pool);
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "IIP0022: no shared memory, so no figures");
            shared = NULL;
            return OK;
        }
        found = apr_shm_baseaddr_get(shm);
        memset(found, 0, sizeof(table));
        ((table *)found)->figures.since = apr_time_now();
        iip_permits_init(&((table *)found)->permits, 0);
        apr_generate_random_bytes(((table *)found)->seed, APR_SIPHASH_KSIZE);
        apr_pool_userdata_set(found, key, apr_pool_cleanup_null, s->process->pool);
    }
    shared = found;
    return OK;
}

static int lives(int32_t pid)
{
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

static void add(uint64_t *to, uint64_t n)
{
    __atomic_fetch_add(to, n, __ATOMIC_RELAXED);
}

static uint64_t get(const uint64_t *from)
{
    return __atomic_load_n(from, __ATOMIC_RELAXED);
}

/* Two passes: free slots first, since the number of a child that is gone may be in use by another program. */
void iipd_shared_child_init(apr_pool_t *pchild, server_rec *s)
{
    const int32_t self = (int32_t)getpid();

    own = NULL;
    for (int i = 0; shared && !own && i < 2 * SLOTS; i++) {
        slot *x = &shared->slots[i % SLOTS];
        int32_t was = __atomic_load_n(&x->pid, __ATOMIC_RELAXED);

        if ((i < SLOTS ? was == 0 : was == self || !lives(was)) &&
            __atomic_compare_exchange_n(&x->pid, &was, self, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            own = x;
    }
    if (!own)
        return;
    for (size_t i = 0; i < WORDS; i++) {
        const uint64_t was = __atomic_exchange_n(&own->row[i], 0, __ATOMIC_RELAXED);

        if (!is_moment[i])
            add(&shared->past[i], was);
    }
}

iip_permits *iipd_shared_permits(void)
{
    return shared ? &shared->permits : NULL;
}

uint32_t *iipd_shared_generations(void)
{
    return shared ? shared->generations : NULL;
}

iip_quarantine *iipd_shared_quarantine(void)
{
    return shared ? &shared->quarantine : NULL;
}

static void say_crashed(void *server, const char *name)
{
    server_rec *s = server;
    apr_pool_t *p;

    apr_pool_create(&p, s->process->pool);
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "IIP0009: %s crashed a child; it is refused for %d minutes",
                 ap_escape_logitem(p, name), IIP_QUARANTINE_SECONDS / 60);
    apr_pool_destroy(p);
}

/* In the parent: what a child that died had. */
void iipd_shared_child_status(server_rec *s, pid_t pid, ap_generation_t generation, int number, mpm_child_status state)
{
    if (!shared || state != MPM_CHILD_EXITED)
        return;
    iip_permits_free(&shared->permits, (int32_t)pid);
    iip_quarantine_ended(&shared->quarantine, (int32_t)pid, say_crashed, s);
}

uint64_t iipd_client(const char *address)
{
    return shared ? apr_siphash24(address, strlen(address), shared->seed) : 0;
}

/* ---- counting ---- */

static void count_time(iipd_histogram *h, apr_interval_time_t us)
{
    const uint64_t t = us > 0 ? (uint64_t)us : 0, units = t / IIPD_BUCKET;
    int i = units ? 64 - __builtin_clzll(units) : 0;

    add(&h->count, 1);
    add(&h->sum, t);
    add(&h->bucket[i < IIPD_BUCKETS ? i : IIPD_BUCKETS - 1], 1);
}

/* What the stores have counted so far. Under a lock, or an older row could be the last one written. */
static void publish(iip_server_t *sv)
{
    iip_server_stats now;
    uint64_t row[WORDS];

    pthread_mutex_lock(&own_lock);
    iip_server_read_stats(sv, &now);
    memcpy(row, &now, sizeof row);
    for (size_t i = 0; i < WORDS; i++)
        __atomic_store_n(&own->row[i], row[i], __ATOMIC_RELAXED);
    pthread_mutex_unlock(&own_lock);
}

void iipd_count(const iipd_request *q, iip_server_t *sv, int rc)
{
    const apr_time_t now = apr_time_now();
    iipd_figures *f;
    iipd_histogram *stage;
    int n = 0;

    if (!shared)
        return;
    f = &shared->figures;
    while (n < IIPD_PROTOCOLS - 1 && iip_protocols[n] && iip_protocols[n] != q->proto)
        n++;
    iipd_counted(q->r, 1);
    stage = f->stage[n];
    count_time(&f->protocol[n], now - q->began);
    add(&f->outcome[rc == HTTP_NOT_MODIFIED ? IIPD_UNCHANGED : rc != OK ? IIPD_BY_HTTPD : (int)q->e.status], 1);
    if (q->sent)
        count_time(&stage[IIPD_SEND], q->sent + (q->b ? q->b->spent.send : 0));
    if (q->b) {
        const iip_times *t = &q->b->spent;

        add(&f->came[q->b->came], 1);
        count_time(&stage[IIPD_OPEN], t->open);
        if (t->read)
            count_time(&stage[IIPD_READ], t->read);
        if (q->b->came == IIP_CAME_MISS) {
            count_time(&stage[IIPD_DECODE], t->decode);
            count_time(&stage[IIPD_PROCESS], t->process);
            count_time(&stage[IIPD_ENCODE], t->encode);
        }
    }
    if (own && sv)
        publish(sv);
}

/* The body may be httpd's own: of an error it words, after a redirect of its own. */
int iipd_count_bytes(request_rec *r)
{
    int ours = 0;

    for (;; r = r->next) {
        ours |= iipd_counted(r, 0);
        if (!r->next)
            break;
    }
    if (shared && ours && r->sent_bodyct && r->bytes_sent > 0)
        add(&shared->figures.bytes, (uint64_t)r->bytes_sent);
    return DECLINED;
}

void iipd_count_jpip(int what, uint64_t n)
{
    if (shared)
        add(&shared->figures.jpip[what], n);
}

/* ---- reading ---- */

int iipd_shared_read(iipd_figures *all, iip_server_stats *stores, int *pid, int room)
{
    uint64_t row[WORDS];
    int n = 0;

    memset(all, 0, sizeof *all);
    memset(stores, 0, sizeof *stores);
    if (!shared)
        return 0;
    *all = shared->figures; /* each number as it is at that moment: no lock stops the others for a page */
    for (size_t i = 0; i < WORDS; i++)
        row[i] = get(&shared->past[i]);
    for (int k = 0; k < SLOTS; k++) {
        slot *x = &shared->slots[k];
        int32_t who = __atomic_load_n(&x->pid, __ATOMIC_RELAXED);
        int alive;

        if (!who)
            continue;
        alive = lives(who);
        for (size_t i = 0; i < WORDS; i++)
            row[i] += alive || !is_moment[i] ? get(&x->row[i]) : 0;
        if (alive && n < room)
            pid[n++] = who;
    }
    memcpy(stores, row, sizeof row);
    return n;
}
