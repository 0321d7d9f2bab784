/* SPDX-License-Identifier: Apache-2.0
 * Every directive, once. settings.c makes of these lists: the structs, unset, merge, defaults and the setters from
 * text; httpd/config.c the command table; `iip -D` the README's directive table; tests and the tool set them by name.
 *
 * To add a directive: one row here. A new KIND needs its C type below and its row in settings.c. */
#ifndef IIP_SETTINGS_H
#define IIP_SETTINGS_H
#include "iip.h"
#include <apr_network_io.h>

/* An IIPRoot. path as written (made absolute against ServerRoot); prefix: the Location's own path, no trailing slash.
 * fd: O_PATH|O_DIRECTORY, opened by each child as User; -1 when it could not be. number: from 1, its place in the
 * configuration; part of each identity read through it. */
typedef struct iip_root {
    const char *path, *prefix;
    const char *directive; /* that made it */
    int fd;
    unsigned number;
    int follow, absolute;
    struct iip_root *next;
} iip_root;

/* A limit a .htaccess may only lower: the administrator's value (last wins) and the cap of all .htaccess on the way
 * (smallest wins); the smaller is in force, so merging order does not matter. 0 = no limit, counts as largest. -1
 * unset. */
typedef struct {
    iip_pair admin, cap;
} iip_lower;

/* An IIPThumbPreset; the one before it in the configuration is next. */
typedef struct iip_preset {
    const char *name, *options;
    const struct iip_preset *next;
} iip_preset;

typedef struct iip_thumb_keys iip_thumb_keys; /* protocol/thumb.h */

typedef struct {
    int of[IIP_FMT_COUNT]; /* -1 unset */
} iip_qualities;

/* An IIPWatermark: a URL path of httpd's. In millionths: numbers that are in keys are whole. */
typedef struct {
    const char *path; /* NULL: none */
    int opacity, chance;
} iip_watermark;
#define IIP_WATERMARK_ONE 1000000

#define IIP_DELIMITERS ";$!"                                        /* order of the words in IIIFDelimiter; then none */
enum { IIP_BARE_FILE, IIP_BARE_REDIRECT, IIP_BARE_NONE };           /* order of the words in IIIFBare */
enum { IIP_RESTRICT_TILES, IIP_RESTRICT_SIZES, IIP_RESTRICT_NONE }; /* order of the words in IIIFRestrictTo */
enum { IIP_PROFILE_EMBED, IIP_PROFILE_CONVERT, IIP_PROFILE_STRIP };
enum { IIP_TIFF_NONE, IIP_TIFF_LZW, IIP_TIFF_DEFLATE, IIP_TIFF_JPEG, IIP_TIFF_WEBP, IIP_TIFF_ZSTD };
enum { IIP_INTERPOLATE_NEAREST, IIP_INTERPOLATE_BILINEAR, IIP_INTERPOLATE_LANCZOS };

/* X(directive, member, KIND, scope, default, key, arguments, help)
 * scope: S main server only; D server, virtual host, Location, Directory; H = D and .htaccess; L a Location with a
 * plain path. default: as it would be written in the configuration; "" = stays unset, the help says what then holds.
 * key: K if it changes bytes and nothing else in the request's line shows it. arguments: for WORD the words, in enum
 * order. */
#define IIP_SETTINGS(X)                                                                                                \
    X(IIPRoot, root, ROOT, L, "", N, "path [follow] [absolute]",                                                       \
      "folder of the pictures; without it httpd's own mapping decides. `follow`: links out of it are followed. "       \
      "`absolute`: names that begin with the path itself are taken beneath it")                                        \
    X(IIIFBare, bare, WORD, H, "", N, "file|redirect|none",                                                            \
      "what the plain name of a picture gets: `file` (default without IIPRoot), `redirect` to its description "        \
      "(default with it; info.json, .dzi, ImageProperties.xml) or `none` (403)")                                       \
    X(IIPSuffix, suffix, PIECE, H, "", N, "text",                                                                      \
      "added to the names of pictures beneath IIPRoot and in queries, to find their files")                            \
    X(IIPSequencePattern, sequence_pattern, PIECE, H, "_pyr_", N, "text",                                              \
      "between the name of a sequence and the angles of its views: `thing_pyr_030_090.tif` is one of `thing`")         \
    X(IIPQuality, quality, QUALITY, H, "", N, "format n",                                                              \
      "quality of an output format: jpeg and pdf 1-100 (75), png 0-9 (1), webp 0-100 (50, 0 is lossless), avif "       \
      "0-100 (50, 100 is lossless), jp2 20-100 dB (40, 100 is lossless), tiff: what its compression takes, deflate "   \
      "0-9 (1), zstd 1-19 (1), jpeg 1-100 (75), webp 0-100 (75, 0 is lossless); gif has none")                         \
    X(IIPTIFFCompression, tiff_compression, CODING, H, "deflate", K, "none|lzw|deflate|jpeg|webp|zstd",                \
      "compression of TIFF answers; deflate where it cannot hold the samples (deep or transparent ones as JPEG), or "  \
      "where libtiff lacks it")                                                                                        \
    X(IIPJPEGProgressive, jpeg_progressive, FLAG, H, "Off", N, "On|Off",                                               \
      "JPEG answers that show the whole picture come in scans that grow finer, where IIPMaxMemory has room for it")    \
    X(IIPKeepDepth, keep_depth, FLAG, H, "Off", K, "On|Off",                                                           \
      "samples of more than 8 bits are kept where the format has them: 16 bits in PNG and JPEG 2000; 16, 32 and "      \
      "floats in TIFF")                                                                                                \
    X(IIPProfile, profile, PROFILE, H, "embed", K, "embed|convert|strip",                                              \
      "colour profile of the source: sent along, its colours converted to sRGB, or dropped. CMYK, CIELAB and floats "  \
      "are always converted; an sRGB profile is never sent")                                                           \
    X(IIPMaxICC, max_icc, LOWER, H, "64K", K, "bytes", "largest colour profile sent along; larger ones are converted") \
    X(IIPCopyright, copyright, NOTICE, H, "", K, "text",                                                               \
      "copyright notice put into answers that show the whole picture, in place of the source's own")                   \
    X(IIPMaxLayers, max_layers, LAYERS, H, "all", N, "all|half|n",                                                     \
      "quality layers of JPEG 2000 that are decoded; more need more time")                                             \
    X(IIPBackground, background, COLOUR, H, "ffffff", K, "rrggbb",                                                     \
      "behind transparent pixels, empty tiles and turned corners where the format has no alpha")                       \
    X(IIPWatermark, watermark, WATERMARK, H, "", N, "URL-path [opacity] [probability]",                                \
      "picture added to answers: its path on this server, how strong it is and how often it comes, 0 to 1; `none`. "   \
      "Once in each block of two tiles by two; the same URL is marked the same")                                       \
    X(IIPInterpolation, interpolation, WORD, H, "lanczos", K, "nearest|bilinear|lanczos",                              \
      "resampling; shrinking by 2 and more is area-true unless `nearest`")                                             \
    X(IIPUpscaling, upscaling, FLAG, H, "On", N, "On|Off", "answers larger than the region they show")                 \
    X(IIPPassthrough, passthrough, FLAG, H, "On", K, "On|Off",                                                         \
      "send a stored tile as it lies in the file where the request is exactly that tile")                              \
    X(IIPCacheControl, cache_control, TEXT, H, "max-age=86400", N, "value", "Cache-Control of good answers")           \
    X(IIPCORS, cors, LIST, H, "*", N, "origin ...|none", "origins that may read answers from scripts")                 \
    X(IIPBaseURL, base_url, URL, H, "", N, "url",                                                                      \
      "scheme, host and port (under IIPRoot the Location's path too) of `id`; default: from the request")              \
    X(IIPTrustedProxy, trusted, NETS, D, "", N, "cidr ...",                                                            \
      "peers whose X-Forwarded-*, Forwarded and X-IIIF-ID headers are believed")                                       \
    X(IIIFVersions, versions, VERSIONS, H, "3 2", N, "3|2|1 ...",                                                      \
      "Image API versions answered; the first is the default")                                                         \
    X(IIIFDelimiter, delimiter, WORD, H, ";", N, ";|$|!|none",                                                         \
      "between an identifier and the number of a page: `a.tif;2`, and `a.tif;2;1:4` at a quarter of its size")         \
    X(IIIFLiteralSlash, literal_slash, FLAG, H, "On", N, "On|Off", "identifiers may hold unencoded slashes")           \
    X(IIIFExtensions, extensions, FLAG, H, "Off", N, "On|Off",                                                         \
      "qualities beyond the standard's: negative, stretch, equalization, log, and the colour maps hot, cold, jet, "    \
      "red, green, blue, viridis, magma, inferno, plasma, cividis, turbo, terrain")                                    \
    X(IIIFExtraInfo, extra_info, JSON, H, "", N, "object",                                                             \
      "JSON object whose members (rights, service, ...) are put into info.json; not those that tell what is answered") \
    X(IIIFRestrictTo, restrict_to, WORD, D, "any", N, "tiles|sizes|any",                                               \
      "what else gets 403: `tiles` answers tiles and sizes as info.json lists them, unturned and in default quality; " \
      "`sizes` the whole picture in any size as well; info.json says level 0 then")                                    \
    X(IIPMaxSize, max_size, LOWER, H, "5000", N, "w [h]", "largest width and height of an answer, 0 = no limit")       \
    X(IIPMaxArea, max_area, NUMBER, D, "25000000", N, "pixels", "largest area of an answer, 0 = no limit")             \
    X(IIPMaxPixels, max_pixels, NUMBER, D, "100000000", N, "pixels", "source pixels decoded for one answer")           \
    X(IIPMaxMemory, max_memory, NUMBER, D, "256M", N, "bytes", "memory one request may hold")                          \
    X(IIPTimeout, timeout, TIME, D, "30s", N, "time", "computing time of one request")                                 \
    X(IIPMaxPerClient, max_per_client, NUMBER, D, "0", N, "n",                                                         \
      "requests of one address that decode at once, over all children; more get 429; 0 = no limit")                    \
    X(IIPThumbRoot, thumb_root, ROOT, L, "", N, "path [follow] [absolute]",                                            \
      "folder of the pictures of `thumb-handler`, which answers nothing without it")                                   \
    X(IIPThumbKey, thumb_keys, KEYS, D, "", N, "path",                                                                 \
      "file with key and salt of signed thumbnails, hex digits, a pair on each line; read at the start. Without it "   \
      "only presets are answered")                                                                                     \
    X(IIPThumbPreset, thumb_presets, PRESET, D, "", N, "name options",                                                 \
      "options of thumbnails by a name, `/` between them; a place that has some of its own has no others")             \
    X(IIPStatus, status, FLAG, D, "Off", N, "On|Off",                                                                  \
      "figures are shown here: `SetHandler iip-status`, and `?status` of the job service; pictures of this place "     \
      "may be forgotten by the method `PURGE`")                                                                        \
    X(JPIPTimeout, jpip_timeout, TIME, D, "300s", N, "time", "a JPIP channel that is idle for so long is closed")      \
    X(JPIPMaxResponse, jpip_max_response, NUMBER, D, "64M", N, "bytes",                                                \
      "longest JPIP answer; the client asks again for the rest")                                                       \
    X(JPIPLinkRoot, jpip_link_root, PATHS, D, "", N, "path ...",                                                       \
      "folders, beside the one of IIPRoot, that absolute links in JPX files may lead to; \"none\" takes all back")     \
    X(JPIPRaw, jpip_raw, FLAG, D, "Off", N, "On|Off", "JPIP answers `type=raw` with the file as it lies")

#define IIP_SERVER_SETTINGS(X)                                                                                         \
    X(IIPMaxDecodes, max_decodes, PLACES, S, "", N, "n [waiting]",                                                     \
      "requests that decode at once in a child, and how many may wait; default: cores, four times that")               \
    X(IIPThreads, threads, NUMBER, S, "", N, "n",                                                                      \
      "threads that one large request may use while cores are idle; 1: never more than its own; default: cores")       \
    X(IIPCacheSize, cache_size, PAIR, S, "10M 32M", N, "encoded [decoded]",                                            \
      "bytes of encoded answers and of decoded tiles kept per child")                                                  \
    X(IIPMetadataCache, metadata_cache, PAIR, S, "1000 64", N, "images [open readers]",                                \
      "parsed images and open files kept per child")                                                                   \
    X(IIPMemcached, memcached, SERVERS, S, "", N, "host[:port] ...",                                                   \
      "memcached servers that hold encoded answers for all children and machines; default: none")                      \
    X(IIPMemcachedClient, memcached_client, CLIENT, S, "apr", N, "apr|libmemcached",                                   \
      "library that speaks to them; with libmemcached a server that hangs holds no thread")                            \
    X(IIPMemcachedTTL, memcached_ttl, TIME, S, "1d", N, "time",                                                        \
      "how long they keep an answer, 0 = as long as they can")                                                         \
    X(IIPMemcachedDeadline, memcached_deadline, TIME, S, "20ms", N, "time",                                            \
      "longest that a request waits for them; a server that needs longer is left alone for a while")                   \
    X(IIPMemcachedSecret, memcached_secret, TEXT, S, "", N, "path",                                                    \
      "file of 96 hex digits, the same on all machines: nobody else can make or foresee what is stored. Needed "       \
      "unless all servers are on this machine")                                                                        \
    X(IIPJobSpool, job_spool, TEXT, S, "", N, "path",                                                                  \
      "folder of the jobs that are waiting, at work and over, on a local disk; without it no jobs are taken")          \
    X(IIPJobWorkers, job_workers, NUMBER, S, "", N, "n", "processes that work on jobs; default: half the cores")       \
    X(IIPJobMaxQueue, job_max_queue, NUMBER, S, "100000", N, "n", "jobs that may wait; more get 503")                  \
    X(IIPJobTimeout, job_timeout, TIME, S, "120s", N, "time", "of a job, on the clock and of computing")               \
    X(IIPJobMemory, job_memory, NUMBER, S, "1G", N, "bytes", "a job's decoding may use")                               \
    X(IIPJobKeep, job_keep, TIMES, S, "1d 7d", N, "done failed", "how long the records of jobs are kept")              \
    X(JPIPSessions, jpip_sessions, TEXT, S, "", N, "provider[:args]",                                                  \
      "where JPIP channels are kept, as in SSLSessionCache: shmcb, redis or memcache; default: 16 MB of shared "       \
      "memory, `shmcb:jpip-sessions(16777216)` below httpd's runtime directory")                                       \
    X(IIPStateDir, state_dir, TEXT, S, "", N, "folder",                                                                \
      "folder for what outlives a child: packet indexes of JPEG 2000 files; made at the start, default `iip` in "      \
      "httpd's runtime directory")                                                                                     \
    X(JPIPIndexAge, jpip_index_age, TIME, S, "30d", N, "time",                                                         \
      "packet indexes not used for so long are removed, 0 = never")

/* Of the job service (spec/imgserve.md section 11): kept apart, so that places without jobs carry one pointer. */
#define IIP_JOB_SETTINGS(X)                                                                                            \
    X(IIPJobs, on, FLAG, D, "Off", N, "On|Off",                                                                        \
      "`imgserve-handler` answers here: JSON jobs that fetch, resize or rasterize a picture and store it")             \
    X(IIPJobRetries, retries, NUMBER, D, "5", N, "n", "further attempts after one that may go well another time")      \
    X(IIPJobMaxRequest, max_request, NUMBER, D, "1M", N, "bytes", "largest body of a request")                         \
    X(IIPJobTransferTimeout, transfer_timeout, TIME, D, "60s", N, "time", "of one download or upload")                 \
    X(IIPJobMaxSource, max_source, NUMBER, D, "64M", N, "bytes", "largest source")                                     \
    X(IIPJobMaxPixels, max_pixels, NUMBER, D, "100000000", N, "pixels", "of a source, and of a result")                \
    X(IIPJobSourceRoot, source_root, TEXT, D, "", N, "path", "folder of file: sources; without it there are none")     \
    X(IIPJobDestRoot, dest_root, TEXT, D, "", N, "path", "folder of file: destinations; without it there are none")    \
    X(IIPJobSourceSchemes, source_schemes, WORDS, D, "http https", N, "scheme ...",                                    \
      "of sources: http https ftp ftps file")                                                                          \
    X(IIPJobDestSchemes, dest_schemes, WORDS, D, "file", N, "scheme ...", "of destinations")                           \
    X(IIPJobSourceHosts, source_hosts, WORDS, D, "*", N, "pattern ...",                                                \
      "hosts sources may come from: a name, `*.example.org`, `*` or none")                                             \
    X(IIPJobDestHosts, dest_hosts, WORDS, D, "none", N, "pattern ...",                                                 \
      "hosts results may go to, and callbacks be made to")                                                             \
    X(IIPJobAllowNet, allow_net, WORDS, D, "none", N, "cidr ...",                                                      \
      "private or special addresses that may be spoken to all the same")                                               \
    X(IIPJobDenyNet, deny_net, WORDS, D, "none", N, "cidr ...", "addresses that never may")                            \
    X(IIPJobPorts, ports, WORDS, D, "80 443 21 990", N, "n ...|any", "ports that may be spoken to")                    \
    X(IIPJobFTPSecure, ftp_secure, WORD, D, "off", N, "off|try|required", "explicit TLS for ftp:")                     \
    X(IIPJobCAFile, ca_file, TEXT, D, "", N, "path", "certificates of authorities; default: the system's")             \
    X(IIPJobUserAgent, user_agent, TEXT, D, "", N, "text",                                                             \
      "what downloads and uploads call themselves; default: mod_iip/ and its version")                                 \
    X(IIPJobCallbackSecret, callback_secret, TEXT, D, "", N, "path",                                                   \
      "file with the secret that signs callbacks, readable by User")                                                   \
    X(IIPJobStrictStatus, strict_status, FLAG, D, "Off", N, "On|Off",                                                  \
      "202, 400, 405 and 422 where old clients expect 200 and 404")                                                    \
    X(IIPJobAllowAnonymous, allow_anonymous, FLAG, D, "Off", N, "On|Off",                                              \
      "take jobs from clients that did not log in: write it where addresses or a firewall protect the place")          \
    X(IIPJobPlaceholderText, placeholder_text, TEXT, H, "", N, "[text]",                                               \
      "on the picture that stands in for the result; default: Image being processed")                                  \
    X(IIPJobFailureText, failure_text, TEXT, H, "", N, "[text]",                                                       \
      "on the picture of a job that failed (an empty text leaves the placeholder); default: Image processing failed")  \
    X(IIPJobPlaceholderColor, placeholder_colour, WORDS, H, "ffffff 000000", N, "rrggbb ...", "ground and text")       \
    X(IIPJobPlaceholderFile, placeholder_file, TEXT, D, "", N, "path", "a picture in place of that text")

#define IIP_C_WORDS                                     const char *const * /* NULL unset, else ends with NULL */
#define IIP_C_ROOT                                      const iip_root *
#define IIP_C_KEYS                                      const iip_thumb_keys *
#define IIP_C_PRESET                                    const iip_preset *
#define IIP_C_WORD                                      int /* index into the words, -1 unset */
#define IIP_C_CODING                                    int /* likewise */
#define IIP_C_PROFILE                                   int /* likewise */
#define IIP_C_FLAG                                      int /* -1 unset */
#define IIP_C_COLOUR                                    int /* 0xrrggbb, -1 unset */
#define IIP_C_VERSIONS                                  int /* digits in order of preference: "3 2" = 32; -1 unset */
#define IIP_C_QUALITY                                   iip_qualities
#define IIP_C_LOWER                                     iip_lower
#define IIP_C_LAYERS                                    iip_lower /* most, 0 = no limit; 1: half of what there is, rounded up */
#define IIP_C_PAIR                                      iip_pair /* -1 unset */
#define IIP_C_PLACES                                    iip_pair /* the first at least 1 */
#define IIP_C_TIMES                                     iip_pair /* microseconds */
#define IIP_C_NUMBER                                    int64_t  /* -1 unset */
#define IIP_C_TIME                                      int64_t  /* microseconds, -1 unset */
#define IIP_C_WATERMARK                                 const iip_watermark *
#define IIP_C_TEXT                                      const char *
#define IIP_C_PIECE                                     const char * /* of a file's name: no slash */
#define IIP_C_JSON                                      const char *
#define IIP_C_NOTICE                                    const char *        /* UTF-8 */
#define IIP_C_URL                                       const char *        /* http(s), no trailing slash */
#define IIP_C_SERVERS                                   const char *const * /* "host:port"; likewise */
#define IIP_C_CLIENT                                    int                 /* index into the words, -1 unset */
#define IIP_C_LIST                                      const char *const * /* NULL unset, else ends with NULL; "none" = empty */
#define IIP_C_PATHS                                     const char *const *     /* absolute; likewise */
#define IIP_C_NETS                                      apr_ipsubnet_t *const * /* likewise */
#define IIP_MEMBER(d, m, KIND, s, def, key, args, help) IIP_C_##KIND m;

typedef struct {
    IIP_JOB_SETTINGS(IIP_MEMBER)
} iip_job_settings;
struct iip_settings {
    IIP_SETTINGS(IIP_MEMBER)
    const iip_job_settings *job; /* NULL: nothing is said of jobs */
};
typedef struct {
    IIP_SERVER_SETTINGS(IIP_MEMBER)
} iip_server_settings;

/* One row as data, for the command table, the README and the tool. */
typedef struct {
    const char *name, *def, *args, *help;
    char scope; /* 'S' 'D' 'H' 'L' */
    int kind;   /* private to settings.c */
    size_t at;  /* offset in its struct */
} iip_directive;
extern const iip_directive iip_directives[];        /* of iip_settings, ends with name NULL */
extern const iip_directive iip_server_directives[]; /* of iip_server_settings */
extern const iip_directive iip_job_directives[];    /* of iip_job_settings */

/* All members unset. */
void iip_settings_unset(iip_settings *s);
void iip_server_settings_unset(iip_server_settings *s);
/* out = base overlaid with add; out may be neither. Pointers are shared, nothing is allocated. */
void iip_settings_merge(iip_settings *out, const iip_settings *base, const iip_settings *add);
/* Sets one member from the words of a directive; htaccess: 1 if it stands there (a LOWER then sets the cap). conf is
 * the struct d belongs to. NULL or a message (constant or from p). Values that reach a header are checked here (no
 * control octets, 1 KiB). */
const char *iip_setting_set(void *conf, const iip_directive *d, int argc, const char *const *argv, int htaccess,
                            apr_pool_t *p);
/* The message (compare the pointer) for what exists but is not built in, an output format, a compression, colours:
 * worth a warning, no refusal. */
extern const char iip_setting_unbuilt[];
/* Defaults filled in for what is unset: what a request works with. May be called any number of times from any thread
 * after iip_settings_init(); no allocation. */
void iip_settings_effective(iip_settings *out, const iip_settings *raw);
void iip_server_settings_effective(iip_server_settings *out, const iip_server_settings *raw);
const iip_settings *iip_settings_defaults(void); /* likewise */
/* Parses the defaults, once per configuration (p outlives all use), before threads. Asserts that each default is good.
 */
void iip_settings_init(apr_pool_t *p);
/* Likewise of the job service; raw NULL: all defaults. */
void iip_job_settings_unset(iip_job_settings *s);
void iip_job_settings_merge(iip_job_settings *out, const iip_job_settings *base, const iip_job_settings *add);
void iip_job_settings_effective(iip_job_settings *out, const iip_job_settings *raw);
/* The limits in force: the smaller of administrator and .htaccess. set must be effective. */
void iip_settings_limits(iip_limits *lim, const iip_settings *set);
/* The pair in force of a LOWER (b = a where only one was given). */
iip_pair iip_lower_value(const iip_lower *l);
/* Appends the members marked K that are not as by default as ";name=value"; returns the new length, room if it did not
 * fit. set must be effective. */
size_t iip_settings_line(const iip_settings *set, char *out, size_t at, size_t room);
/* Whole-number and time texts: digits with K, M, G; digits with ms, s, m, h, d (bare: seconds). 0 on success. */
int iip_parse_size(const char *s, int64_t *out);
int iip_parse_time(const char *s, apr_interval_time_t *out);

#endif
