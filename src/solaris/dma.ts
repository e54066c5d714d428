// DMA handles, bindings, windows and cookies (ddi_dma_alloc_handle(9F) and its relatives).

import type { Solaris } from './kernel.ts';

export function createDma(_k: Solaris) {
  return {};
}
