// Windows, cookies and synchronisation of a binding (ddi_dma_getwin(9F), ddi_dma_nextcookie(9F), ddi_dma_sync(9F), and
// the functions on cookies that change nothing).

import type { Rule } from '../guard/rules.ts';
import { KernelBug } from '../kernel/index.ts';
import { fillCookie, giveCookies } from './dma.ts';
import {
  DDI_DMA_READ,
  DDI_DMA_SYNC_FORCPU,
  DDI_DMA_SYNC_FORDEV,
  DDI_DMA_SYNC_FORKERNEL,
  DDI_DMA_WRITE,
  DDI_FAILURE,
  DDI_SUCCESS,
} from './dma-attr.ts';
import { copyAll, copyWindow, selectWindow } from './dma-copy.ts';
import { accessOf } from './dma-guard.ts';
import type { WindowPlan } from './dma-plan.ts';
import {
  type Binding,
  type DdiDmaCookie,
  type DdiDmaHandle,
  mustBound,
  mustHandle,
  WindowCookie,
} from './dma-struct.ts';
import type { Solaris } from './kernel.ts';
import type { Pointer } from './pointer.ts';

export function createDmaWindow(k: Solaris) {
  const { guard } = k.machine;

  function report(handle: DdiDmaHandle, binding: Binding, rule: Rule, what: string): void {
    guard.report({
      rule,
      message: `${handle.dip.controller.name}: ddi_dma_sync of a ${binding.kind}: ${what}`,
      device: handle.dip.controller.name,
      direction: accessOf(binding),
      mapping: k.dmaGuard?.mappingOf(binding) ?? null,
    });
  }

  /** SYNC-05: which way the bytes go; null when the mapping does not serve that side. */
  function towardsDevice(type: number, flags: number): boolean | null {
    if (type === DDI_DMA_SYNC_FORDEV) return (flags & DDI_DMA_WRITE) !== 0 ? true : null;
    const forCpu = type === DDI_DMA_SYNC_FORCPU || type === DDI_DMA_SYNC_FORKERNEL;
    return forCpu && (flags & DDI_DMA_READ) !== 0 ? false : null;
  }

  /** SYNC-03, SYNC-04: the bytes of the object that are meant; null when they are not all in the window. */
  function rangeOf(window: WindowPlan, off: number, len: number): { start: number; bytes: number } | null {
    const start = off === 0 ? window.offset : off;
    const end = window.offset + window.bytes;
    const bytes = len === 0 ? end - start : len;
    if (!(start >= window.offset && start <= end && bytes >= 0 && start + bytes <= end)) return null;
    return { start, bytes };
  }

  function mustWindow(handle: DdiDmaHandle, where: string): Binding {
    return mustBound(handle, 'CKI-03', where);
  }

  return {
    /**
     * How many windows there are: DDI_SUCCESS, or DDI_FAILURE when binding did not return DDI_DMA_PARTIAL_MAP. Any
     * context, as all here.
     */
    ddi_dma_numwin(handle: DdiDmaHandle, nwinp: Pointer<number>): number {
      const { binding } = mustHandle(handle, 'ddi_dma_numwin');
      if (binding === null || !binding.partial) return DDI_FAILURE;
      nwinp.value = binding.windows.length;
      return DDI_SUCCESS;
    },

    /**
     * Makes window `win` the current one, while the device is idle: copies back what it wrote through the copy buffer
     * in the old one, and copies to it what it will read in the new one. DDI_FAILURE when there is no such window. Any
     * context.
     * @param offp, lenp where it is in the object, in bytes
     */
    ddi_dma_getwin(
      handle: DdiDmaHandle,
      win: number,
      offp: Pointer<number>,
      lenp: Pointer<number>,
      cookiep: DdiDmaCookie | null,
      countp: Pointer<number> | null,
    ): number {
      const binding = mustBound(handle, 'WIN-21', 'ddi_dma_getwin');
      const window = binding.windows[win];
      if (binding.fast || window === undefined) return DDI_FAILURE;
      if ((binding.flags & DDI_DMA_READ) !== 0) copyAll(k, binding, false);
      selectWindow(k, handle, binding, win);
      offp.value = window.offset;
      lenp.value = window.bytes;
      giveCookies(binding, cookiep, countp);
      if ((binding.flags & DDI_DMA_WRITE) !== 0) copyAll(k, binding, true);
      return DDI_SUCCESS;
    },

    /**
     * Fills in the next cookie of the current window. Any context.
     * @throws KernelBug `CKI-01` when there is none left
     */
    ddi_dma_nextcookie(handle: DdiDmaHandle, cookiep: DdiDmaCookie): void {
      const binding = mustWindow(handle, 'ddi_dma_nextcookie');
      const cookie = binding.cookies[binding.cursor];
      if (cookie === undefined)
        throw new KernelBug('CKI-01', 'panic: no cookie is left', 'ddi_dma_nextcookie');
      binding.cursor++;
      fillCookie(cookiep, cookie);
    },

    /** Cookies of the current window. Any context. */
    ddi_dma_ncookies(handle: DdiDmaHandle): number {
      return mustWindow(handle, 'ddi_dma_ncookies').cookies.length;
    },

    /** The cookie after `prev`, the first for null; null after the last. Any context. */
    ddi_dma_cookie_iter(handle: DdiDmaHandle, prev: DdiDmaCookie | null): DdiDmaCookie | null {
      const { cookies } = mustWindow(handle, 'ddi_dma_cookie_iter');
      if (prev === null) return cookies[0] ?? null;
      if (!(prev instanceof WindowCookie && cookies[prev.index] === prev))
        throw new KernelBug('CKI-03', 'not a cookie of the current window', 'ddi_dma_cookie_iter');
      return cookies[prev.index + 1] ?? null;
    },

    /** Cookie number `index` of the current window; null when there are not so many. Any context. */
    ddi_dma_cookie_get(handle: DdiDmaHandle, index: number): DdiDmaCookie | null {
      return mustWindow(handle, 'ddi_dma_cookie_get').cookies[index] ?? null;
    },

    /** The only cookie. Any context. @throws KernelBug `CKI-02` when it is not the only one */
    ddi_dma_cookie_one(handle: DdiDmaHandle): DdiDmaCookie {
      const { cookies } = mustWindow(handle, 'ddi_dma_cookie_one');
      const [cookie] = cookies;
      if (cookie === undefined || cookies.length !== 1)
        throw new KernelBug('CKI-02', `panic: ${cookies.length} cookies`, 'ddi_dma_cookie_one');
      return cookie;
    },

    /**
     * Makes what one side wrote visible to the other, where memory goes through the copy buffer: DDI_SUCCESS, or
     * DDI_FAILURE for bytes outside of the current window or a side that the mapping does not serve. Any context.
     * @param off in the object; 0: the beginning of the current window
     * @param len 0: up to the end of the current window
     */
    ddi_dma_sync(handle: DdiDmaHandle, off: number, len: number, type: number): number {
      const binding = mustBound(handle, 'sync-unmapped', 'ddi_dma_sync');
      const { window, flags } = binding;
      if (window === null) return DDI_SUCCESS;
      const range = rangeOf(window, off, len);
      const toDevice = towardsDevice(type, flags);
      if (toDevice === null) report(handle, binding, 'sync-direction', `type ${type}`);
      if (range === null) report(handle, binding, 'sync-range', `${len} bytes at offset ${off}`);
      if (toDevice !== null && range !== null)
        k.dmaGuard?.synced(binding, range.start, range.bytes, !toDevice);
      if (!window.bounced) return DDI_SUCCESS;
      if (toDevice === null || range === null) return DDI_FAILURE;
      copyWindow(k, binding, range.start, range.bytes, toDevice);
      return DDI_SUCCESS;
    },
  };
}
