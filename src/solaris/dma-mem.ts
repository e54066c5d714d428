// Memory for devices (ddi_dma_mem_alloc(9F)).

import { KernelBug, MAX_ORDER, PAGE_SIZE, type Page, Ready, type Sleeps } from '../kernel/index.ts';
import { DdiAccHandle, type DdiDeviceAccAttr } from './acc.ts';
import { DDI_DMA_CONSISTENT, DDI_FAILURE, DDI_SUCCESS, type DdiDmaAttr } from './dma-attr.ts';
import { CallbackList } from './dma-callback.ts';
import { givePages, reachOf, takePages, waitPages } from './dma-copy.ts';
import { DDI_DMA_SLEEP, type DdiDmaHandle, type DmaWaitfp, mustHandle } from './dma-struct.ts';
import type { Solaris } from './kernel.ts';
import { boundForDma } from './kernel-pages.ts';
import type { Pointer } from './pointer.ts';

/** How the CPU may cache the memory: at most one of them in `flags`. Here caches are coherent. */
export const IOMEM_DATA_CACHED = 0x10000;
export const IOMEM_DATA_UC_WR_COMBINE = 0x20000;
export const IOMEM_DATA_UNCACHED = 0x40000;
const IOMEM_DATA_MASK = 0xf0000;

/** What the pages are allocated for. */
export const DMA_MEM_TAG = 'dma memory';

/** How memory is laid out: `chunks` of `pages` pages that follow each other, aligned to `align` pages. */
interface Layout {
  readonly bytes: number;
  readonly pages: number;
  /** Pages that must follow each other; 1: any will do. */
  readonly chunk: number;
  readonly alignPages: number;
}

const pagesOf = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);
const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** MEM-01, MEM-02: null for what no memory can be. */
function layoutOf(len: number, attr: DdiDmaAttr): Layout | null {
  const { dma_attr_minxfer: minxfer, dma_attr_align: align } = attr;
  if (!(len > 0) || !isPowerOfTwo(minxfer) || !isPowerOfTwo(align)) return null;
  const alignment = Math.max(minxfer, align);
  const sgllen = attr.dma_attr_sgllen < 0 ? Number.POSITIVE_INFINITY : attr.dma_attr_sgllen;
  const alignPages = Math.max(1, alignment / PAGE_SIZE);
  if (pagesOf(len + alignment) <= sgllen) {
    const bytes = roundUp(len, alignment);
    const pages = pagesOf(bytes);
    return { bytes, pages, chunk: alignPages > 1 ? pages : 1, alignPages };
  }
  const bytes = roundUp(len, minxfer);
  const chunk = Math.ceil(pagesOf(bytes + alignment) / sgllen);
  if (chunk > Math.floor(Math.min(attr.dma_attr_seg, Number.MAX_SAFE_INTEGER) / PAGE_SIZE) + 1) return null;
  return { bytes, pages: pagesOf(bytes), chunk, alignPages };
}

function isPowerOfTwo(value: number): boolean {
  return value >= 1 && Number.isInteger(Math.log2(value));
}

export function createDmaMem(k: Solaris) {
  const ready = new Ready();
  const waiting = new CallbackList(k.interrupts, 'dma memory');

  /** Pages that follow each other; a power of two of them begins at a multiple of their size and crosses no segment. */
  function takeChunk({ limits }: DdiDmaHandle, count: number, alignPages: number): Page[] | null {
    const reach = reachOf(limits);
    const order = Math.ceil(Math.log2(Math.max(count, alignPages)));
    if (reach === null || order > MAX_ORDER) return null;
    const head = k.allocator.alloc({ ...reach, order, tag: DMA_MEM_TAG });
    if (head === null) return null;
    const pages = Array.from({ length: 1 << order }, (_, i) => k.frames.compoundPage(head, i));
    if (order > 0) k.allocator.split(head);
    givePages(k, pages.splice(count));
    return pages;
  }

  function take(handle: DdiDmaHandle, { pages, chunk, alignPages }: Layout): Page[] | null {
    if (chunk === 1) return takePages(k, handle.limits, pages, DMA_MEM_TAG);
    const taken: Page[] = [];
    while (taken.length < pages) {
      const more = takeChunk(handle, Math.min(chunk, pages - taken.length), alignPages);
      if (more === null) {
        givePages(k, taken);
        return null;
      }
      taken.push(...more);
    }
    return taken;
  }

  function fail<A>(waitfp: DmaWaitfp<A>, arg: A): number {
    if (typeof waitfp === 'function') waiting.register(waitfp, arg);
    return DDI_FAILURE;
  }

  return {
    /**
     * Memory that a device reaches, as the attributes of its handle ask: DDI_SUCCESS or DDI_FAILURE. It is not zeroed.
     * Sleeps only with DDI_DMA_SLEEP. Any context with DDI_DMA_DONTWAIT or a call-back.
     * @param flags DDI_DMA_CONSISTENT: `real_lengthp` gets exactly `len`; otherwise what `len` was rounded up to
     * @param kaddrp gets the address, which is the kernel's
     */
    ddi_dma_mem_alloc<A>(
      h: DdiDmaHandle,
      len: number,
      accattrp: DdiDeviceAccAttr | null,
      flags: number,
      waitfp: DmaWaitfp<A>,
      arg: A,
      kaddrp: Pointer<number>,
      real_lengthp: Pointer<number>,
      handlep: Pointer<DdiAccHandle>,
    ): Sleeps<number> {
      const where = 'ddi_dma_mem_alloc';
      const handle = mustHandle(h, where);
      const cache = flags & IOMEM_DATA_MASK;
      if ((cache & (cache - 1)) !== 0) return ready.with(DDI_FAILURE, where);
      if (waitfp === DDI_DMA_SLEEP) k.mightSleep(where);
      const layout = layoutOf(len, handle.attr);
      if (layout === null) return ready.with(fail(waitfp, arg), where);

      function finish(pages: readonly Page[], bytes: number): number {
        const acc = new DdiAccHandle(k.kas.map(pages), pages.length * PAGE_SIZE, accattrp);
        kaddrp.value = acc.kaddr;
        real_lengthp.value = (flags & DDI_DMA_CONSISTENT) !== 0 ? len : bytes;
        handlep.value = acc;
        return DDI_SUCCESS;
      }

      function* wait(wanted: Layout): Sleeps<number> {
        const pages = yield* waitPages(k, handle.limits, wanted.pages, () => take(handle, wanted));
        return pages === null ? DDI_FAILURE : finish(pages, wanted.bytes);
      }

      const pages = take(handle, layout);
      if (pages !== null) return ready.with(finish(pages, layout.bytes), where);
      return waitfp === DDI_DMA_SLEEP ? wait(layout) : ready.with(fail(waitfp, arg), where);
    },

    /**
     * Gives the memory back, and has those called who wait for some. Any context.
     * @throws KernelBug `MEM-06` when it is no such memory or was given back, `free-mapped` when it is bound
     */
    ddi_dma_mem_free(handlep: Pointer<DdiAccHandle>): void {
      const where = 'ddi_dma_mem_free';
      const acc = handlep.value;
      if (acc === null || acc.freed) throw new KernelBug('MEM-06', 'no memory, or freed before', where);
      if (boundForDma(k, acc.kaddr, acc.bytes))
        throw new KernelBug('free-mapped', 'the memory is bound for DMA', where);
      acc.freed = true;
      givePages(k, k.kas.unmap(acc.kaddr) ?? []);
      waiting.trigger();
    },
  };
}
