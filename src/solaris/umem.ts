// Memory with a cookie (ddi_umem_alloc(9F), ddi_umem_lock(9F), ddi_umem_iosetup(9F)).

import type { Solaris } from './kernel.ts';

export function createUmem(_k: Solaris) {
  return {};
}
