/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRATCH in front of a local variable of hundreds of bytes: it is written before it is read, and a length or
 * a state beside it says how far. configure has every local variable set to zero
 * (-ftrivial-auto-var-init=zero), which costs a query kilobytes of it; these are left alone. Only where no
 * byte that was not written can leave the function.
 */
#pragma once

#ifdef __has_attribute
#if __has_attribute(uninitialized)
#define SCRATCH __attribute__((uninitialized))
#endif
#endif
#ifndef SCRATCH
#define SCRATCH
#endif
