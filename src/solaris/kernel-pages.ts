// Memory of the kernel in whole pages: how it is got, and whether a device may still be at work on it.

import type { AllocOptions, Page, Sleeps } from '../kernel/index.ts';
import type { Solaris } from './kernel.ts';

/** `count` pages; null, without any, only for those who may not sleep. */
export function* takeKernelPages(
  { allocator }: Solaris,
  count: number,
  sleeps: boolean,
  options: AllocOptions,
): Sleeps<Page[] | null> {
  const pages: Page[] = [];
  while (pages.length < count) {
    let page = allocator.alloc(options);
    if (page === null && sleeps) page = yield* allocator.allocWait(options, 'memory');
    if (page === null) {
      for (const got of pages) allocator.put(got);
      return null;
    }
    pages.push(page);
  }
  return pages;
}

/** True while some of `bytes` bytes of the kernel's memory are bound for DMA, by their address or as those of a buf. */
export function boundForDma(k: Solaris, address: number, bytes: number): boolean {
  for (const { binding } of k.dma.dma_bound()) {
    const buf = binding?.buf ?? null;
    const start = buf?.b_proc === null ? buf.b_un.b_addr : (binding?.kernel?.start ?? -1);
    if (start < address + bytes && start + (binding?.bytes ?? 0) > address) return true;
  }
  return false;
}
