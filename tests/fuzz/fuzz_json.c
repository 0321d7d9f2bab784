/* SPDX-License-Identifier: Apache-2.0
 * The JSON reader: any bytes are an object or not, and the members of one lie within it. */
#include "json.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    char *text = malloc(size + 1);

    memcpy(text, data, size);
    text[size] = '\0';
    if (iip_json_is_object(text)) {
        iip_json_member m = {.named = 1};

        for (const char *at = text; iip_json_next(&at, &m);)
            if (m.name < text || m.value < m.name + m.name_length || at > text + strlen(text) ||
                !iip_json_has(text, &m))
                abort();
    }
    free(text);
    return 0;
}
