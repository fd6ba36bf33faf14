/*
 * Copyright (c) Netcure and contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * For containers that may open fewer files than Elasticsearch insists on: says that there are 65,535.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>

#define WANTED 65535

static int told(const char *name, int resource, struct rlimit *limit) {
    int (*real)(int, struct rlimit *) = (int (*)(int, struct rlimit *))dlsym(RTLD_NEXT, name);
    int outcome = real(resource, limit);
    if (!outcome && resource == RLIMIT_NOFILE && limit->rlim_cur < WANTED) {
        limit->rlim_cur = WANTED;
        if (limit->rlim_max < WANTED) limit->rlim_max = WANTED;
    }
    return outcome;
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) { return told("getrlimit", resource, limit); }
int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit) {
    return told("getrlimit64", resource, (struct rlimit *)limit);
}
