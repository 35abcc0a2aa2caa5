/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/dnsd.h"

int main(int argc, char **argv)
{
    return dnsd_main(argc, argv);
}
