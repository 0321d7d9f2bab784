/* SPDX-License-Identifier: Apache-2.0
 * How another httpd module gives mod_iip a decoder. `make install` puts this file beside httpd's own headers, in one
 * piece: the parts marked >> mod_iip.h of the headers below take the place of the includes.
 *
 * A provider is one const iip_decoder, registered before the configuration is checked:
 *
 *     static void register_hooks(apr_pool_t *p)
 *     {
 *         ap_register_provider(p, IIP_DECODER_GROUP, "openslide", IIP_DECODER_VERSION, &decoder);
 *     }
 *
 * mod_iip asks for all of them once the configuration is read, so the order of LoadModule does not matter. One that was
 * built with another IIP_CODEC_ABI is left out, with a line in the error log: of its iip_decoder only `abi` and `name`
 * are looked at, which therefore stay its first members. What is here has no other promise: a new ABI needs a provider
 * that is built again.
 *
 * Which decoder gets a file: the one most sure of the first bytes, among
 * equals that of higher `priority` (those of mod_iip have 50 to 100), and behind it the next whenever one refuses with
 * IIP_E_FORMAT. So a decoder of some files that begin as TIFF claims all of them at a priority above TIFF's, and
 * refuses those that are not its own.
 *
 * - Calls come from any thread, for one reader from one at a time. They may take long, but neither end the process nor
 *   print; no longjmp or C++ exception may leave them.
 * - A function that fails fills *e (status, and detail for the log) and returns the status.
 * - Read through source->read. A library that wants the name of a file gets /proc/self/fd/N with N = source->fd; files
 *   beside it are found by readlink of that, which only a decoder with IIP_DEC_TRUSTED may do. fd is -1 where the
 *   source is no file.
 * - Memory comes from the pool given, or from malloc with a cleanup in it; what grows with a header's numbers is
 *   checked against limits->memory first. */
#ifndef MOD_IIP_H
#define MOD_IIP_H
#include <stddef.h>
#include <stdint.h>
#include <apr_errno.h>
#include <apr_pools.h>
#include <apr_time.h>
#include "iip.h"
#include "source/source.h"
#include "codec/codec.h"

#define IIP_DECODER_GROUP   "iip-decoder"
#define IIP_DECODER_VERSION "1"
#endif
