/* SPDX-License-Identifier: Apache-2.0
 * The protocols by the word after SetHandler. A new protocol is one file and one line here. */
#include "protocol.h"
#include <string.h>

extern const iip_protocol iip_protocol_deepzoom;
extern const iip_protocol iip_protocol_iiif;
extern const iip_protocol iip_protocol_iip;
extern const iip_protocol iip_protocol_jpip;
extern const iip_protocol iip_protocol_zoomify;

const iip_protocol *const iip_protocols[] = {&iip_protocol_iiif,    &iip_protocol_iip,  &iip_protocol_deepzoom,
                                             &iip_protocol_zoomify, &iip_protocol_jpip, NULL};

const iip_protocol *iip_protocol_find(const char *handler)
{
    for (const iip_protocol *const *p = iip_protocols; handler && *p; p++)
        if (strcmp((*p)->handler, handler) == 0)
            return *p;
    return NULL;
}
