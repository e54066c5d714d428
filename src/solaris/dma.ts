// DMA handles and their bindings (ddi_dma_alloc_handle(9F), ddi_dma_buf_bind_handle(9F), ddi_dma_addr_bind_handle(9F),
// ddi_dma_unbind_handle(9F)). Windows, cookies and copies are in dma-window.ts, memory for devices in dma-mem.ts.
//
// There is no IOMMU: bus addresses are physical addresses. What the device does not reach goes through pages of a copy
// buffer, which the binding has for itself.
//
// `where`, the last argument, is the place as its caller calls it, for findings of the guard.

import { type AddressSpace, KernelBug, PAGE_SIZE, type Page, Ready, type Sleeps } from '../kernel/index.ts';
import { B_PAGEIO, B_READ, B_REMAPPED, B_SHADOW, type Buf, type PageListPtr } from './buf-struct.ts';
import type { DevInfo } from './dev-info.ts';
import {
  DDI_DMA_BADATTR,
  DDI_DMA_INUSE,
  DDI_DMA_MAPPED,
  DDI_DMA_NOMAPPING,
  DDI_DMA_NORESOURCES,
  DDI_DMA_PARTIAL,
  DDI_DMA_PARTIAL_MAP,
  DDI_DMA_RDWR,
  DDI_DMA_READ,
  DDI_DMA_TOOBIG,
  DDI_DMA_WRITE,
  DDI_SUCCESS,
  type DdiDmaAttr,
  type DmaLimits,
  limitsOf,
} from './dma-attr.ts';
import { CallbackList } from './dma-callback.ts';
import { copyAll, givePages, selectWindow, takePages, unlockUnder, waitPages } from './dma-copy.ts';
import { buildWindows, CookieFormer, FoldTest, type Run, type WindowPlan } from './dma-plan.ts';
import {
  Binding,
  DDI_DMA_SLEEP,
  type DdiDmaCookie,
  DdiDmaHandle,
  type DmaWaitfp,
  isInUse,
  type KernelRange,
  mustBound,
  mustHandle,
} from './dma-struct.ts';
import { traceBind } from './dma-trace.ts';
import type { Solaris } from './kernel.ts';
import { KM_NOSLEEP, KM_SLEEP } from './kmem.ts';
import type { Pointer } from './pointer.ts';

/** Most bytes of a mapping's copy buffer: 1 MiB and a page. */
export const MAX_COPYBUF_BYTES = 0x101000;
/** What the pages of copy buffers are allocated for. */
export const COPYBUF_TAG = 'dma copy buffer';
const HANDLE = 'ddi_dma_handle';
/** Offset in a page; exact, since bit operations take numbers modulo 2^32. */
const PAGE_MASK = PAGE_SIZE - 1;
const NO_PAGES: readonly Page[] = [];

/** What is to be bound. */
interface DmaObject {
  /** Its cookies, not in windows yet. */
  readonly runs: readonly Run[];
  /** Pages of copy buffer that they ask for. */
  readonly wanted: number;
  readonly bytes: number;
  readonly buf: Buf | null;
  readonly kernel: KernelRange | null;
  /** Frames of it that were locked once, and are not any more; null: none. */
  readonly unlocked: Set<number> | null;
  readonly kind: string;
  readonly where: string;
}

interface BindCall<A> {
  readonly handle: DdiDmaHandle;
  readonly object: DmaObject;
  readonly flags: number;
  readonly waitfp: DmaWaitfp<A>;
  readonly arg: A;
  readonly cookiep: DdiDmaCookie | null;
  readonly countp: Pointer<number> | null;
}

/** What a binding needs. */
interface Plan {
  readonly runs: readonly Run[];
  /** Pages of the copy buffer. */
  readonly slots: number;
  /** Windows are needed. */
  readonly partial: boolean;
}

export function createDma(k: Solaris) {
  const ready = new Ready();
  const waiting = new CallbackList(k.interrupts, 'dma resources');
  const bound = new Set<DdiDmaHandle>();
  /** A page of what is being bound is not locked. */
  let bare = false;
  const copySlots = Math.floor((k.options.dmaCopyBufferBytes ?? MAX_COPYBUF_BYTES) / PAGE_SIZE);
  // Trimming may put two pieces of one window on two pages.
  if (!(copySlots >= 2))
    throw new RangeError(
      `dmaCopyBufferBytes is ${k.options.dmaCopyBufferBytes}; it must be two pages at least, 8192`,
    );
  k.onPagesUnlocked = (pages) => {
    for (const handle of bound) {
      const { binding } = handle;
      if (binding !== null && binding.kernel === null) unlockUnder(k, binding, pages);
    }
  };

  /** CB-02: no resources: who left a function is called when some are given back. */
  function noResources<A>(waitfp: DmaWaitfp<A>, arg: A): number {
    if (typeof waitfp === 'function') waiting.register(waitfp, arg);
    return DDI_DMA_NORESOURCES;
  }

  /** Hands out the pieces of memory, which begins `offset` bytes into a page; `pfnOf` finds its pages. */
  function eachPiece(
    to: CookieFormer | FoldTest,
    offset: number,
    bytes: number,
    where: string,
    pfnOf: (i: number) => number,
  ): void {
    let start = offset;
    for (let i = 0, left = bytes; left > 0; i++) {
      const pfn = pfnOf(i);
      if (pfn < 0) throw new KernelBug('BIND-05', `page ${i} is not there: the memory is not locked`, where);
      const length = Math.min(PAGE_SIZE - start, left);
      to.add(pfn * PAGE_SIZE, start, length);
      left -= length;
      start = 0;
    }
  }

  /** The cookies of memory. */
  function cookiesOf(
    limits: DmaLimits,
    offset: number,
    bytes: number,
    where: string,
    pfnOf: (i: number) => number,
  ): CookieFormer {
    let fold = false;
    if (limits.bounceOnSeg) {
      const test = new FoldTest(limits);
      eachPiece(test, offset, bytes, where, pfnOf);
      fold = test.straddles;
    }
    const former = new CookieFormer(limits, fold);
    eachPiece(former, offset, bytes, where, pfnOf);
    return former;
  }

  /** The kernel's, or the user's memory, which must be locked. */
  function addressPfn(as: AddressSpace | null, addr: number, driver: string): (i: number) => number {
    return (i) => {
      const pfn = k.as.hat_getpfnum(as, addr + i * PAGE_SIZE);
      if (as !== null) checkLocked(k.frames.pfnToPage(pfn), driver);
      return pfn;
    };
  }

  function listPfn(list: PageListPtr | null, locked: boolean, driver: string): (i: number) => number {
    return (i) => {
      const page = list?.page(i) ?? null;
      if (locked) checkLocked(page, driver);
      return page === null ? -1 : page.pfn;
    };
  }

  function checkLocked(page: Page | null, driver: string): void {
    if (page === null || page.locks > 0) return;
    bare = true;
    k.warnings.warn('BIND-05', 'memory that nobody locked is bound', driver);
  }

  /** UMEM-07: pages of a buf's list that were unlocked before it is bound. */
  function unlockedOf({ b_flags, b_shadow }: Buf, end: number): Set<number> | null {
    if ((b_flags & B_SHADOW) === 0 || (b_flags & B_PAGEIO) !== 0) return null;
    let unlocked: Set<number> | null = null;
    for (let i = 0; i * PAGE_SIZE < end; i++) {
      const page = b_shadow?.page(i) ?? null;
      if (page === null || page.locks > 0) continue;
      unlocked ??= new Set();
      unlocked.add(page.pfn);
    }
    return unlocked;
  }

  /** BIND-04: where the pages of a buf are. */
  function bufPages(bp: Buf, driver: string): (i: number) => number {
    const { b_addr } = bp.b_un;
    if ((bp.b_flags & B_PAGEIO) !== 0) return listPfn(bp.b_pages, false, driver);
    if ((bp.b_flags & B_SHADOW) !== 0) return listPfn(bp.b_shadow, true, driver);
    const user = (bp.b_flags & B_REMAPPED) === 0 ? bp.b_proc : null;
    return addressPfn(user?.p_as ?? null, b_addr - (b_addr & PAGE_MASK), driver);
  }

  /** BIND-11: the cookies of the object, and what they need. */
  function planOf<A>({ handle: { limits }, object }: BindCall<A>): Plan {
    const { runs, wanted } = object;
    const slots = Math.min(wanted, copySlots);
    const partial = runs.length > limits.sgllen || object.bytes > limits.window || wanted > slots;
    return { runs, slots, partial };
  }

  /** Binds as far as possible without sleeping; null: it takes memory that is not there now. */
  function tryBind<A>(call: BindCall<A>): number | null {
    const { handle, object, waitfp } = call;
    const plan = planOf(call);
    const { runs, slots, partial } = plan;
    if (slots === 0 && !partial) {
      const { bytes } = object;
      const windows = bytes === 0 ? [] : [{ offset: 0, bytes, runs, bounced: false }];
      return finish(call, true, false, windows, NO_PAGES);
    }
    const copies = takePages(k, handle.limits, slots, COPYBUF_TAG);
    if (copies === null) return waitfp === DDI_DMA_SLEEP ? null : noResources(waitfp, call.arg);
    return bindSlowly(call, plan, copies);
  }

  /** BIND-11 to BIND-16: what follows once the copy buffer is there. */
  function bindSlowly<A>(call: BindCall<A>, { runs, partial }: Plan, copies: readonly Page[]): number {
    const { handle, flags } = call;
    if (partial && (flags & DDI_DMA_PARTIAL) === 0) {
      givePages(k, copies);
      const what = 'coding error: windows are needed, and DDI_DMA_PARTIAL was not given';
      k.warnings.warn('BIND-12', what, handle.dip.driver);
      return DDI_DMA_TOOBIG;
    }
    const windows = buildWindows(runs, handle.limits, copies.length);
    if (windows === null) {
      givePages(k, copies);
      return DDI_DMA_NOMAPPING;
    }
    return finish(call, false, partial, windows, copies);
  }

  function finish<A>(
    call: BindCall<A>,
    fast: boolean,
    partial: boolean,
    windows: readonly WindowPlan[],
    copies: readonly Page[],
  ): number {
    const { handle, object, flags, cookiep, countp } = call;
    const { bytes, kind, where, buf, kernel, unlocked } = object;
    const init = { bytes, kind, where, buf, kernel, unlocked, flags, fast, partial, windows, copies };
    const binding = new Binding(init);
    handle.binding = binding;
    bound.add(handle);
    if (buf !== null) buf.bindings++;
    if (k.machine.tracer.enabled) traceBind(k, binding, handle.dip.controller.name);
    selectWindow(k, handle, binding, 0);
    if ((flags & DDI_DMA_WRITE) !== 0) copyAll(k, binding, true);
    giveCookies(binding, cookiep, countp);
    return partial ? DDI_DMA_PARTIAL_MAP : DDI_DMA_MAPPED;
  }

  /** HDL-06, Q08: waits for the copy buffer, unless there can never be one. */
  function* waitBind<A>(call: BindCall<A>): Sleeps<number> {
    const plan = planOf(call);
    const { limits } = call.handle;
    const take = (): Page[] | null => takePages(k, limits, plan.slots, COPYBUF_TAG);
    const copies = yield* waitPages(k, limits, plan.slots, take);
    return copies === null ? DDI_DMA_NORESOURCES : bindSlowly(call, plan, copies);
  }

  function bind<A>(call: BindCall<A>): Sleeps<number> {
    if ((call.flags & DDI_DMA_RDWR) === 0)
      throw new KernelBug('BIND-03', 'neither DDI_DMA_READ nor DDI_DMA_WRITE', call.object.kind);
    if (call.waitfp === DDI_DMA_SLEEP) k.mightSleep(call.object.kind);
    const result = tryBind(call);
    return result === null ? waitBind(call) : ready.with(result, call.object.kind);
  }

  /** What a driver does by mistake, and the kernel does not mind. */
  function noteMistakes(handle: DdiDmaHandle, bp: Buf, flags: number): void {
    const { driver } = handle.dip;
    const wanted = (bp.b_flags & B_READ) !== 0 ? DDI_DMA_READ : DDI_DMA_WRITE;
    if ((flags & wanted) === 0)
      k.warnings.warn('BIND-03', 'bound in the direction that is not the buf’s', driver);
    const align = handle.attr.dma_attr_align;
    if (align > 1 && bp.b_un.b_addr % Math.min(align, PAGE_SIZE) !== 0)
      k.warnings.warn('BIND-06', `a buf that is not aligned to ${align} bytes is bound`, driver);
    const granular = handle.attr.dma_attr_granular;
    if (bp.b_bcount % granular !== 0)
      k.warnings.warn('WIN-08', `${bp.b_bcount} bytes are bound, no multiple of ${granular}`, driver);
  }

  return {
    /**
     * Makes a handle for one transfer at a time: DDI_SUCCESS, DDI_DMA_BADATTR or DDI_DMA_NORESOURCES. Sleeps only with
     * DDI_DMA_SLEEP. Any context with DDI_DMA_DONTWAIT or a call-back.
     */
    *ddi_dma_alloc_handle<A>(
      dip: DevInfo,
      attr: DdiDmaAttr | null,
      waitfp: DmaWaitfp<A>,
      arg: A,
      handlep: Pointer<DdiDmaHandle>,
    ): Sleeps<number> {
      const limits = attr === null ? null : limitsOf(attr);
      if (attr === null || limits === null) return DDI_DMA_BADATTR;
      const taken = yield* k.kmem.kmem_take(HANDLE, waitfp === DDI_DMA_SLEEP ? KM_SLEEP : KM_NOSLEEP);
      if (!taken) return noResources(waitfp, arg);
      handlep.value = new DdiDmaHandle(dip, attr, limits, k.dmaGuard);
      return DDI_SUCCESS;
    },

    /**
     * Frees a handle and has those called who wait for resources. Any context.
     * @throws KernelBug `HDL-08` when it is bound
     */
    ddi_dma_free_handle(handlep: Pointer<DdiDmaHandle>): void {
      const handle = mustHandle(handlep.value, 'ddi_dma_free_handle');
      if (handle.binding !== null)
        throw new KernelBug('HDL-08', 'the handle is bound', 'ddi_dma_free_handle');
      handle.freed = true;
      k.kmem.kmem_give(HANDLE);
      waiting.trigger();
    },

    /** The burst sizes of the handle's attributes (ddi_dma_burstsizes(9F)). Any context. */
    ddi_dma_burstsizes(handle: DdiDmaHandle): number {
      return mustHandle(handle, 'ddi_dma_burstsizes').attr.dma_attr_burstsizes;
    },

    /**
     * Binds the memory of a buf: DDI_DMA_MAPPED, DDI_DMA_PARTIAL_MAP, DDI_DMA_INUSE, DDI_DMA_NORESOURCES,
     * DDI_DMA_NOMAPPING or DDI_DMA_TOOBIG. The first cookie and the number of cookies are those of the first window.
     * Sleeps only with DDI_DMA_SLEEP. Any context with DDI_DMA_DONTWAIT or a call-back.
     * @param flags DDI_DMA_READ or DDI_DMA_WRITE or both, DDI_DMA_PARTIAL … (the buf's own direction is not looked at)
     * @throws KernelBug `BIND-05` when the memory is not there
     */
    ddi_dma_buf_bind_handle<A>(
      h: DdiDmaHandle,
      bp: Buf,
      flags: number,
      waitfp: DmaWaitfp<A>,
      arg: A,
      cookiep: DdiDmaCookie | null,
      countp: Pointer<number> | null,
      where = '',
    ): Sleeps<number> {
      const kind = 'ddi_dma_buf_bind_handle';
      const handle = mustHandle(h, kind);
      if (isInUse(handle, kind)) return ready.with(DDI_DMA_INUSE, kind);
      const bytes = bp.b_bcount >>> 0; // BIND-02
      noteMistakes(handle, bp, flags);
      const offset = bp.b_un.b_addr & PAGE_MASK;
      bare = false;
      const made = cookiesOf(handle.limits, offset, bytes, kind, bufPages(bp, handle.dip.driver));
      const [unlocked, kernel] = [bare ? unlockedOf(bp, offset + bytes) : null, null];
      const object = { runs: made.runs, wanted: made.slots, bytes, buf: bp, kernel, unlocked, kind, where };
      return bind({ handle, object, flags, waitfp, arg, cookiep, countp });
    },

    /**
     * Binds memory by its address. Returns what ddi_dma_buf_bind_handle() returns, DDI_DMA_NOMAPPING for no bytes. Any
     * context, but with DDI_DMA_SLEEP.
     * @param as null: the address is the kernel's
     * @throws KernelBug `BIND-05` when the memory is not there
     */
    ddi_dma_addr_bind_handle<A>(
      h: DdiDmaHandle,
      as: AddressSpace | null,
      addr: number,
      len: number,
      flags: number,
      waitfp: DmaWaitfp<A>,
      arg: A,
      cookiep: DdiDmaCookie | null,
      countp: Pointer<number> | null,
      where = '',
    ): Sleeps<number> {
      const kind = 'ddi_dma_addr_bind_handle';
      const handle = mustHandle(h, kind);
      if (len === 0) return ready.with(DDI_DMA_NOMAPPING, kind);
      if (isInUse(handle, kind)) return ready.with(DDI_DMA_INUSE, kind);
      const bytes = len % 2 ** 32;
      const offset = addr & PAGE_MASK;
      const pages = addressPfn(as, addr - offset, handle.dip.driver);
      const made = cookiesOf(handle.limits, offset, bytes, kind, pages);
      const kernel = as === null ? { start: addr, end: addr + bytes } : null;
      const unlocked = null;
      const object = { runs: made.runs, wanted: made.slots, bytes, buf: null, kernel, unlocked, kind, where };
      return bind({ handle, object, flags, waitfp, arg, cookiep, countp });
    },

    /**
     * Ends a binding: copies back what the device wrote through the copy buffer in the current window, frees it, and has
     * those called who wait for resources. Any context.
     * @throws KernelBug `UNB-02` when nothing is bound
     */
    ddi_dma_unbind_handle(handle: DdiDmaHandle): number {
      const binding = mustBound(handle, 'UNB-02', 'ddi_dma_unbind_handle');
      if ((binding.flags & DDI_DMA_READ) !== 0) copyAll(k, binding, false);
      k.dmaGuard?.release(binding);
      givePages(k, binding.copies);
      if (binding.buf !== null) binding.buf.bindings--;
      handle.binding = null;
      bound.delete(handle);
      const { tracer } = k.machine;
      if (tracer.enabled) tracer.emit('dma_unbind', handle.dip.controller.name, { bytes: binding.bytes });
      waiting.trigger();
      return DDI_SUCCESS;
    },

    /** The handles that are bound now. Any context. */
    dma_bound(): Iterable<DdiDmaHandle> {
      return bound;
    },

    /** Calls that wait for DMA resources to be given back. Any context. */
    dma_waiting(): number {
      return waiting.length;
    },
  };
}

/** Describes the current window to the driver: its first cookie, and how many there are. */
export function giveCookies(
  { cookies }: Binding,
  cookiep: DdiDmaCookie | null,
  countp: Pointer<number> | null,
): void {
  const [first] = cookies;
  if (cookiep !== null && first !== undefined) fillCookie(cookiep, first);
  if (countp !== null) countp.value = cookies.length;
}

export function fillCookie(to: DdiDmaCookie, from: DdiDmaCookie): void {
  to.dmac_laddress = from.dmac_laddress;
  to.dmac_size = from.dmac_size;
  to.dmac_type = from.dmac_type;
}
