/* SPDX-License-Identifier: Apache-2.0
 * In place of the tests of a format whose library was not there. */
#ifndef NOT_BUILT_H
#define NOT_BUILT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void not_built(void **state)
{
    skip();
}

static int group(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(not_built)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#define run_cases(group) group()
#endif
