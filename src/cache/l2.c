/* SPDX-License-Identifier: Apache-2.0
 * The lane: a queue of look-ups and one of stores, two threads, and what is known of each server. One lock for all of
 * it, never held while a server is spoken to. A thread that was given up owns what it uses and ends when its server
 * lets go of it. */
#include "l2.h"
#include <apr_general.h>
#include <apr_siphash.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    THREADS = 2,
    MOST_JOBS = 256,       /* look-ups waiting, stores waiting */
    MOST_BYTES = 16 << 20, /* of answers waiting to be stored */
    MOST_STUCK = 8,        /* threads that one server may hold */
    STACK = 256 << 10,     /* a client's library resolves names on it */
    PAUSE = 5000000,       /* microseconds a server is left alone after its first failure */
    LONGEST_PAUSE = 300000000,
    LEAVE_TIME = 2000000, /* for the threads, when the child ends */
    MONTH = 30 * 86400    /* seconds; what is longer memcached takes for a date */
};

typedef struct {
    char *text;           /* "host:port" */
    int64_t pause, until; /* pause 0: it is well; else it is left alone until then */
    int probing;          /* a look-up is out to see if it is well again */
    int stuck;            /* threads it holds */
} target;

typedef struct job job;
struct job {
    job *next;
    int refs;          /* who waits, and who works */
    int target, probe; /* probe: asked to see if the server is well again */
    enum { QUEUED, RUNNING, DONE } state;
    char name[IIP_L2_NAME];
    char *data; /* of a look-up: what was found */
    size_t len;
    iip_blob *blob; /* to be stored, under key */
    size_t klen;
    unsigned char key[];
};

typedef struct {
    job *first, **last;
    int count;
} queue;

typedef struct {
    struct iip_l2 *l2;
    void *handle[]; /* one for each target, opened when first used */
} own;

typedef struct {
    int lost, target;
    int64_t since; /* when it began what it does, 0: it waits */
} worker;

struct iip_l2 {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    int refs, alive, stop; /* alive: threads that were not given up */
    const iip_l2_client *client;
    int64_t ttl, deadline;
    unsigned char secret[IIP_L2_SECRET];
    queue gets, sets;
    size_t bytes;
    worker *thread[THREADS];
    iip_l2_stats stats;
    int targets;
    target target[];
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int sleep_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until)
{
    struct timespec t = {(time_t)(until / 1000000), (long)(until % 1000000) * 1000};

    return pthread_cond_timedwait(cond, lock, &t) == ETIMEDOUT;
}

/* --- queues and jobs --- */

static void queue_init(queue *q)
{
    q->first = NULL;
    q->last = &q->first;
    q->count = 0;
}

static void push(queue *q, job *j)
{
    j->next = NULL;
    *q->last = j;
    q->last = &j->next;
    q->count++;
}

static job *pop(queue *q)
{
    job *j = q->first;

    if (j && !(q->first = j->next))
        q->last = &q->first;
    q->count -= j != NULL;
    return j;
}

static void job_free(job *j)
{
    if (j->blob)
        iip_blob_release(j->blob);
    free(j->data);
    free(j);
}

static void drop_locked(job *j)
{
    if (--j->refs == 0)
        job_free(j);
}

/* --- servers --- */

static void shut_locked(target *t, int64_t now)
{
    t->pause = !t->pause ? PAUSE : t->pause > LONGEST_PAUSE / 2 ? LONGEST_PAUSE : t->pause * 2;
    t->until = now + t->pause;
    t->probing = 0;
}

static void well_locked(target *t)
{
    t->pause = 0;
    t->probing = 0;
}

/* The server of that key among those that are well, by the highest of their hashes with it: when one falls out, the
 * keys of the others stay where they are. -1: none. */
static int choose_locked(iip_l2_t *l2, const char *name)
{
    unsigned char digest[APR_SIPHASH_KSIZE];
    uint64_t best = 0;
    int found = -1;

    memcpy(digest, name + 5, sizeof digest);
    for (int i = 0; i < l2->targets; i++) {
        const char *text = l2->target[i].text;
        uint64_t h = l2->target[i].pause ? 0 : apr_siphash24(text, strlen(text), digest);

        if (!l2->target[i].pause && (found < 0 || h > best)) {
            best = h;
            found = i;
        }
    }
    return found;
}

/* Threads that a server has held for longer than this are given up, and the server left alone. */
static void give_up_locked(iip_l2_t *l2, int64_t patience)
{
    const int64_t now = now_us();

    for (int i = 0; i < THREADS; i++) {
        worker *w = l2->thread[i];

        if (!w || !w->since || now - w->since < patience)
            continue;
        w->lost = 1;
        l2->thread[i] = NULL;
        l2->alive--;
        l2->target[w->target].stuck++;
        l2->stats.late++;
        shut_locked(&l2->target[w->target], now);
        pthread_cond_broadcast(&l2->done); /* the others who wait for it need not */
    }
}

/* --- the threads --- */

/* The last one out, whoever it is. */
static void release(iip_l2_t *l2, int locked)
{
    int last;

    if (!locked)
        pthread_mutex_lock(&l2->lock);
    last = --l2->refs == 0;
    pthread_mutex_unlock(&l2->lock);
    if (!last)
        return;
    pthread_cond_destroy(&l2->work);
    pthread_cond_destroy(&l2->done);
    pthread_mutex_destroy(&l2->lock);
    for (int i = 0; i < l2->targets; i++)
        free(l2->target[i].text);
    free(l2);
}

static void *handle_of(own *o, int server)
{
    iip_l2_t *l2 = o->l2;

    if (!o->handle[server])
        o->handle[server] = l2->client->open(l2->target[server].text, l2->deadline);
    return o->handle[server];
}

static int speak(iip_l2_t *l2, void *h, job *j)
{
    const int64_t ttl = l2->ttl / 1000000;
    char *frame;
    size_t n;
    int rc;

    if (!j->blob)
        return l2->client->get(h, j->name, &j->data, &j->len);
    if (!(frame = iip_l2_frame(l2->secret, j->key, j->klen, j->blob->data, j->blob->len, &n)))
        return 0;
    rc = l2->client->set(h, j->name, frame, n,
                         (uint32_t)(!l2->ttl      ? 0
                                    : ttl > MONTH ? time(NULL) + ttl
                                    : ttl         ? ttl
                                                  : 1));
    free(frame);
    return rc;
}

/* 1, 0, -1 as the client said it. A connection may be from before a restart of its server, or out of step: what failed
 * is done once more over a new one. */
static int perform(own *o, job *j)
{
    const iip_l2_client *client = o->l2->client;
    int rc = -1;

    for (int i = 0; i < 2 && rc < 0; i++) {
        void *h = handle_of(o, j->target);

        rc = h ? speak(o->l2, h, j) : 0;
        if (rc < 0) {
            client->close(h);
            o->handle[j->target] = NULL;
        }
    }
    return rc;
}

/* What a finished job says of its server. */
static void judge_locked(iip_l2_t *l2, const job *j, int rc)
{
    target *t = &l2->target[j->target];

    if (rc >= 0) {
        well_locked(t);
        l2->stats.stores += j->blob && rc == 1;
        return;
    }
    l2->stats.errors++;
    if (!t->pause || t->probing)
        shut_locked(t, now_us());
}

static job *next_job_locked(iip_l2_t *l2)
{
    job *j = pop(&l2->gets);

    if (!j && (j = pop(&l2->sets)))
        l2->bytes -= j->blob->len;
    return j;
}

/* Jobs, until the house closes (0) or this thread was given up (1). */
static int work_locked(iip_l2_t *l2, own *o, worker *w)
{
    while (!l2->stop) {
        job *j = next_job_locked(l2);
        int rc;

        if (!j) {
            pthread_cond_wait(&l2->work, &l2->lock);
            continue;
        }
        /* The server failed meanwhile, or who asked has left: nobody is helped by trying */
        if (l2->target[j->target].pause ? !j->probe : !j->blob && j->refs == 1) {
            drop_locked(j);
            continue;
        }
        j->state = RUNNING;
        w->target = j->target;
        w->since = now_us();
        pthread_mutex_unlock(&l2->lock);
        rc = perform(o, j);
        pthread_mutex_lock(&l2->lock);
        w->since = 0;
        l2->target[j->target].stuck -= w->lost;
        judge_locked(l2, j, rc);
        j->state = DONE;
        pthread_cond_broadcast(&l2->done);
        drop_locked(j);
        if (w->lost)
            return 1;
    }
    return 0;
}

typedef struct {
    worker w;
    own o;
} thread_state;

static void *lane(void *v)
{
    thread_state *s = v;
    iip_l2_t *l2 = s->o.l2;

    pthread_mutex_lock(&l2->lock);
    if (!work_locked(l2, &s->o, &s->w)) {
        for (int i = 0; i < THREADS; i++)
            if (l2->thread[i] == &s->w)
                l2->thread[i] = NULL;
        l2->alive--;
        pthread_cond_broadcast(&l2->done);
    }
    pthread_mutex_unlock(&l2->lock);
    for (int i = 0; i < l2->targets; i++)
        if (s->o.handle[i])
            l2->client->close(s->o.handle[i]);
    free(s);
    release(l2, 0);
    return NULL;
}

/* Signals are the business of httpd's own threads. */
static int start_locked(iip_l2_t *l2, int place)
{
    thread_state *s = calloc(1, sizeof *s + (size_t)l2->targets * sizeof *s->o.handle);
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t id;
    int rc;

    if (!s)
        return 0;
    s->o.l2 = l2;
    l2->thread[place] = &s->w;
    l2->refs++;
    l2->alive++;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&id, &attr, lane, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        l2->thread[place] = NULL;
        l2->refs--;
        l2->alive--;
        free(s);
    }
    return rc == 0;
}

/* 1 if somebody is there to work. */
static int staff_locked(iip_l2_t *l2)
{
    give_up_locked(l2, l2->deadline);
    for (int i = 0; i < THREADS; i++)
        if (!l2->thread[i])
            start_locked(l2, i);
    return l2->alive > 0;
}

/* --- what requests do --- */

static job *job_make(const char *name, int target_number, size_t klen)
{
    job *j = calloc(1, sizeof *j + klen);

    if (j) {
        j->refs = 1;
        j->target = target_number;
        memcpy(j->name, name, sizeof j->name);
        j->klen = klen;
    }
    return j;
}

static void send_locked(iip_l2_t *l2, queue *q, job *j)
{
    push(q, j);
    pthread_cond_signal(&l2->work);
}

/* A server that was left alone for its time is asked for this key too; the answer does not matter. */
static void probe_locked(iip_l2_t *l2, const char *name)
{
    const int64_t now = now_us();

    for (int i = 0; i < l2->targets; i++) {
        target *t = &l2->target[i];
        job *j;

        if (!t->pause || t->probing || now < t->until || t->stuck >= MOST_STUCK || !(j = job_make(name, i, 0)))
            continue;
        t->probing = j->probe = 1;
        send_locked(l2, &l2->gets, j);
    }
}

static job *ask_locked(iip_l2_t *l2, const char *name)
{
    job *j;
    int at;

    if (l2->stop || l2->gets.count >= MOST_JOBS || !staff_locked(l2))
        return NULL;
    probe_locked(l2, name);
    if ((at = choose_locked(l2, name)) < 0 || !(j = job_make(name, at, 0)))
        return NULL;
    j->refs++;
    send_locked(l2, &l2->gets, j);
    return j;
}

iip_blob *iip_l2_get(iip_l2_t *l2, const void *key, size_t klen, int64_t most)
{
    const int64_t until = now_us() + (most < l2->deadline ? most : l2->deadline);
    char name[IIP_L2_NAME], *data = NULL;
    size_t n = 0, at, len;
    iip_blob *b = NULL;
    job *j;

    iip_l2_name(l2->secret, key, klen, name);
    pthread_mutex_lock(&l2->lock);
    if ((j = ask_locked(l2, name)) != NULL) {
        int late = 0;

        while (j->state != DONE && !late && !l2->target[j->target].pause)
            late = sleep_until(&l2->done, &l2->lock, until);
        if (j->state == DONE) {
            data = j->data;
            n = j->len;
            j->data = NULL;
        } else {
            give_up_locked(l2, l2->deadline / 2); /* it began somewhat later than the request */
        }
        drop_locked(j);
    }
    l2->stats.misses += data == NULL;
    pthread_mutex_unlock(&l2->lock);
    if (!data)
        return NULL;
    if (iip_l2_unframe(l2->secret, key, klen, data, n, &at, &len) == 0) {
        char *fit;

        memmove(data, data + at, len);
        fit = realloc(data, len ? len : 1);
        b = iip_blob_make(fit ? fit : data, len, free);
    } else {
        free(data);
    }
    pthread_mutex_lock(&l2->lock);
    l2->stats.hits += b != NULL;
    l2->stats.misses += b == NULL;
    l2->stats.foreign += b == NULL;
    pthread_mutex_unlock(&l2->lock);
    return b;
}

void iip_l2_put(iip_l2_t *l2, const void *key, size_t klen, iip_blob *b)
{
    char name[IIP_L2_NAME];
    int at = -1;
    job *j;

    if (b->len > IIP_L2_MOST || klen > IIP_L2_MOST - b->len)
        return;
    iip_l2_name(l2->secret, key, klen, name);
    pthread_mutex_lock(&l2->lock);
    if (!l2->stop && l2->sets.count < MOST_JOBS && l2->bytes + b->len <= MOST_BYTES && staff_locked(l2))
        at = choose_locked(l2, name);
    if (at >= 0 && (j = job_make(name, at, klen)) != NULL) {
        memcpy(j->key, key, klen);
        iip_blob_hold(b);
        j->blob = b;
        l2->bytes += b->len;
        send_locked(l2, &l2->sets, j);
    } else {
        l2->stats.dropped++;
    }
    pthread_mutex_unlock(&l2->lock);
}

void iip_l2_read_stats(iip_l2_t *l2, iip_l2_stats *out)
{
    pthread_mutex_lock(&l2->lock);
    *out = l2->stats;
    out->servers = (uint64_t)l2->targets;
    for (int i = 0; i < l2->targets; i++)
        out->shut += l2->target[i].pause != 0;
    pthread_mutex_unlock(&l2->lock);
}

/* --- life --- */

iip_l2_t *iip_l2_create(const iip_l2_client *client, const char *const *servers, int64_t ttl, int64_t deadline,
                        const unsigned char secret[IIP_L2_SECRET])
{
    pthread_condattr_t attr;
    iip_l2_t *l2;
    int n = 0;

    while (servers[n])
        n++;
    if (!n || !(l2 = calloc(1, sizeof *l2 + (size_t)n * sizeof *l2->target)))
        return NULL;
    l2->refs = 1;
    l2->client = client;
    l2->ttl = ttl;
    l2->deadline = deadline > 1000 ? deadline : 1000;
    memcpy(l2->secret, secret, sizeof l2->secret);
    queue_init(&l2->gets);
    queue_init(&l2->sets);
    pthread_mutex_init(&l2->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l2->work, &attr);
    pthread_cond_init(&l2->done, &attr);
    pthread_condattr_destroy(&attr);
    while (l2->targets < n && (l2->target[l2->targets].text = strdup(servers[l2->targets])) != NULL)
        l2->targets++;
    if (l2->targets < n) {
        release(l2, 0);
        return NULL;
    }
    return l2;
}

void iip_l2_destroy(iip_l2_t *l2)
{
    int64_t until = now_us() + LEAVE_TIME;
    job *j;

    pthread_mutex_lock(&l2->lock);
    l2->stop = 1;
    pthread_cond_broadcast(&l2->work);
    while (l2->alive > 0 && !sleep_until(&l2->done, &l2->lock, until))
        give_up_locked(l2, l2->deadline);
    while ((j = next_job_locked(l2)) != NULL)
        job_free(j);
    release(l2, 1);
}
