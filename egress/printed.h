/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a command that printed something. */
#pragma once

/* status if all of it reached standard output; else says so as PROGRAM and gives failed. */
int printed(const char *program, int status, int failed);
