/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/tunneld.h"

int main(int argc, char **argv)
{
    return tunneld_run(argc, argv);
}
